package ownpod_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/pod"
)

// The rules of the chart's policy portlease-agent, by their messages.
const (
	boundToNoPod      = "this service account is for game servers, and the token is bound to no pod. Use another account to write on pods"
	ownPodOnly        = "an agent may change only its own pod"
	setsAnnotation    = "an agent may set only annotations under portlease.dev/"
	removesAnnotation = "an agent may remove only annotations under portlease.dev/"
	setsMetadata      = "an agent may set only annotations in a pod's metadata"
	removesMetadata   = "an agent may remove only annotations from a pod's metadata"
	changesSpec       = "an agent may not change a pod's spec"
	setsStatus        = "an agent may set only its condition in a pod's status"
	removesStatus     = "an agent may remove only its condition from a pod's status"
	changesConditions = "an agent may change only the condition portlease.dev/Reachable"
	repeatsItsOwn     = "a pod may have the condition portlease.dev/Reachable only once"
	ownEventsOnly     = "an agent may write events about its own pod only"
	byRBAC            = "RBAC"
	allowed           = ""
)

const (
	merge              = types.MergePatchType
	strategic          = types.StrategicMergePatchType
	operations         = types.JSONPatchType
	declared           = types.ApplyPatchType // server-side apply
	reachable          = `{"type":"` + ownpod.ConditionReachable + `","status":"True"}`
	reachableAmongAll  = `{"status":{"conditions":[` + reachable + `]}}`
	unreachable        = `{"status":{"conditions":[{"type":"` + ownpod.ConditionReachable + `","status":"False"}]}}`
	otherPod           = "game-1"
	annotationOfOthers = `{"metadata":{"annotations":{"example.com/new":"x"}}}`
	ownAnnotation      = `{"metadata":{"annotations":{"portlease.dev/endpoint":"games.example:30007"}}}`
)

// attempts are made one after another on a pod that newPod made.
var attempts = []struct {
	what        string
	subresource string
	kind        types.PatchType
	patch       string
	refusal     string
}{
	{"set its annotation", "", merge, ownAnnotation, allowed},
	{"change its annotation", "", merge, `{"metadata":{"annotations":{"portlease.dev/endpoint":"games.example:30008"}}}`, allowed},
	{"remove its annotation", "", merge, `{"metadata":{"annotations":{"portlease.dev/endpoint":null}}}`, allowed},
	{"change nothing", "", merge, `{}`, allowed},
	{"change nothing in the status", "status", strategic, `{}`, allowed},
	{"set its condition", "status", strategic, reachableAmongAll, allowed},
	{"change its condition", "status", strategic, unreachable, allowed},
	{"remove its condition", "status", strategic, `{"status":{"conditions":[{"$patch":"delete","type":"` + ownpod.ConditionReachable + `"}]}}`, allowed},

	{"set another annotation", "", merge, annotationOfOthers, setsAnnotation},
	{"set an annotation that looks like its own", "", merge, `{"metadata":{"annotations":{"portlease.device/x":"x"}}}`, setsAnnotation},
	{"change another annotation", "", merge, `{"metadata":{"annotations":{"example.com/mine":"x"}}}`, setsAnnotation},
	{"set another annotation beside its own", "", merge, `{"metadata":{"annotations":{"portlease.dev/x":"x","example.com/new":"x"}}}`, setsAnnotation},
	{"set another annotation through the status", "status", merge, annotationOfOthers, setsAnnotation},
	{"remove another annotation", "", merge, `{"metadata":{"annotations":{"example.com/mine":null,"portlease.dev/x":"x"}}}`, removesAnnotation},
	{"remove all annotations", "", merge, `{"metadata":{"annotations":null}}`, removesAnnotation},

	{"set a label", "", merge, `{"metadata":{"labels":{"portlease.dev/x":"x"}}}`, setsMetadata},
	{"change a label", "", merge, `{"metadata":{"labels":{"app":"x"}}}`, setsMetadata},
	{"set a label through the status", "status", merge, `{"metadata":{"labels":{"x":"x"}}}`, setsMetadata},
	{"set a finalizer", "", merge, `{"metadata":{"finalizers":["example.com/x"]}}`, setsMetadata},
	{"change a finalizer", "", merge, `{"metadata":{"finalizers":["example.com/stays","example.com/x"]}}`, setsMetadata},
	{"set an owner", "", merge, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}`, setsMetadata},
	{"set a field of metadata that nobody uses", "", merge, `{"metadata":{"generateName":"x-"}}`, setsMetadata},
	{"remove all labels", "", merge, `{"metadata":{"labels":null}}`, removesMetadata},
	{"remove all finalizers", "", merge, `{"metadata":{"finalizers":null}}`, removesMetadata},

	{"change the image", "", strategic, `{"spec":{"containers":[{"name":"game","image":"x"}]}}`, changesSpec},
	{"set a deadline", "", merge, `{"spec":{"activeDeadlineSeconds":1}}`, changesSpec},
	{"tolerate a taint", "", operations, `[{"op":"add","path":"/spec/tolerations/-","value":{"key":"x","operator":"Exists"}}]`, changesSpec},

	{"forge the phase", "status", merge, `{"status":{"phase":"Failed"}}`, setsStatus},
	{"forge the address", "status", merge, `{"status":{"podIP":"10.1.2.4","podIPs":[{"ip":"10.1.2.4"}]}}`, setsStatus},
	{"forge the containers' states", "status", strategic, `{"status":{"containerStatuses":[{"name":"game","restartCount":7}]}}`, setsStatus},
	{"set a reason", "status", merge, `{"status":{"reason":"Evicted"}}`, setsStatus},
	{"forge the phase beside its condition", "status", strategic, `{"status":{"phase":"Succeeded","conditions":[` + reachable + `]}}`, setsStatus},
	{"remove the address", "status", merge, `{"status":{"podIP":null,"podIPs":null}}`, removesStatus},
	{"remove the containers' states", "status", merge, `{"status":{"containerStatuses":null}}`, removesStatus},

	{"set another condition", "status", strategic, `{"status":{"conditions":[{"type":"example.com/Healthy","status":"True"}]}}`, changesConditions},
	{"set a condition that looks like its own", "status", strategic, `{"status":{"conditions":[{"type":"portlease.dev/ReachableToo","status":"True"}]}}`, changesConditions},
	{"change a condition of the kubelet's", "status", strategic, `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, changesConditions},
	{"remove a condition of the kubelet's", "status", strategic, `{"status":{"conditions":[{"$patch":"delete","type":"Ready"}]}}`, changesConditions},
	{"replace all conditions by its own", "status", merge, reachableAmongAll, changesConditions},
	{"remove all conditions", "status", merge, `{"status":{"conditions":null}}`, changesConditions},
	{"set its condition twice", "status", operations, `[{"op":"add","path":"/status/conditions/-","value":` + reachable + `},{"op":"add","path":"/status/conditions/-","value":` + reachable + `}]`, repeatsItsOwn},

	{"add an ephemeral container", "ephemeralcontainers", strategic, `{"spec":{"ephemeralContainers":[{"name":"x","image":"x"}]}}`, byRBAC},
	{"resize a container", "resize", strategic, `{"spec":{"containers":[{"name":"game","resources":{"limits":{"cpu":"1"}}}]}}`, byRBAC},
}

func TestPolicyAllowsOnlyTheAgentsOwnWrites(t *testing.T) {
	s := begin(t)
	if _, err := s.adminPods(t).Patch(t.Context(), "game-0", merge, []byte(`{"metadata":{"finalizers":["example.com/stays"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	provoked := make(map[string]bool)
	for _, a := range attempts {
		provoked[a.refusal] = true
		s.attempt(t, a.what, "game-0", a.subresource, a.kind, a.patch, a.refusal)
	}
	other, err := ownpod.New(wayOf(t, cluster.TokenConfig(s.token)), pod.Identity{Namespace: s.namespace, Name: otherPod, UID: string(newPod(t, s.namespace, otherPod).UID)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Announce(t.Context(), claim); err == nil || !strings.HasSuffix(err.Error(), ownPodOnly) {
		t.Errorf("announcing on another pod: %v", err) // no role is a remedy
	}
	for subresource, patch := range map[string]string{"": ownAnnotation, "status": reachableAmongAll} {
		s.attempt(t, "write on another pod "+subresource, otherPod, subresource, strategic, patch, ownPodOnly)
	}
	provoked[ownPodOnly] = true
	account, err := cluster.ServiceAccount(t.Context(), s.namespace, "game")
	if err != nil {
		t.Fatal(err)
	}
	unbound := s
	unbound.token = account.BearerToken
	unbound.attempt(t, "write without being a pod", "game-0", "", merge, ownAnnotation, boundToNoPod)
	provoked[boundToNoPod] = true
	provoked[ownEventsOnly] = true // by TestAgentWritesNoEventsAboutOtherPods
	s.attempt(t, "make a pod", "game-2", "", declared, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"game-2"},"spec":{"containers":[{"name":"game","image":"x"}]}}`, byRBAC)
	for what, err := range map[string]error{
		"read": second(s.as(t).Get(t.Context(), "game-0", metav1.GetOptions{})), "list": second(s.as(t).List(t.Context(), metav1.ListOptions{})),
		"replace": second(s.as(t).Update(t.Context(), s.pod, metav1.UpdateOptions{})), "delete": s.as(t).Delete(t.Context(), "game-0", metav1.DeleteOptions{}),
	} {
		if !apierrors.IsForbidden(err) || denied(err) {
			t.Errorf("%s its pod: %v", what, err)
		}
	}
	for _, rule := range rulesOf(t) {
		if !provoked[rule] {
			t.Errorf("nobody tries what the rule %q refuses", rule)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// attempt patches with the agent's token and holds the refusal against the wanted
// one: the message of the very rule, or byRBAC.
func (s story) attempt(t *testing.T, what, pod, subresource string, kind types.PatchType, patch, want string) {
	t.Helper()
	options := metav1.PatchOptions{}
	if kind == declared {
		options = metav1.PatchOptions{FieldManager: "test", Force: new(true)}
	}
	var below []string
	if subresource != "" {
		below = []string{subresource}
	}
	_, err := s.as(t).Patch(t.Context(), pod, kind, []byte(patch), options, below...)
	switch {
	case want == allowed && err == nil:
	case want == byRBAC && apierrors.IsForbidden(err) && !denied(err):
	case want != allowed && denied(err) && strings.HasSuffix(err.Error(), "denied request: "+want):
	default:
		t.Errorf("an agent tries to %s: got %v, want refusal %q", what, err, want)
	}
}

func rulesOf(t *testing.T) []string {
	t.Helper()
	var policy admissionv1.ValidatingAdmissionPolicy
	for _, o := range manifests(t, "") {
		if o.Kind != "ValidatingAdmissionPolicy" {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(o.Text), &policy); err != nil {
			t.Fatal(err)
		}
	}
	if p := policy.Spec.FailurePolicy; p == nil || *p != admissionv1.Fail {
		t.Errorf("what the policy fails to judge is let through: failurePolicy is %v", p)
	}
	var rules []string
	for _, v := range policy.Spec.Validations {
		rules = append(rules, v.Message)
	}
	return rules
}

// The API server remembers a token for some seconds after its pod is gone, which
// is when a pod made anew under the name is in reach.
func TestPolicyProtectsThePodThatReplacesTheAgents(t *testing.T) {
	s := begin(t)
	if err := cluster.RemovePod(t.Context(), s.namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	newPod(t, s.namespace, "game-0")
	s.attempt(t, "annotate the pod after its own", "game-0", "", merge, ownAnnotation, ownPodOnly)
	s.attempt(t, "set the condition of the pod after its own", "game-0", "status", strategic, reachableAmongAll, ownPodOnly)
}

// patchers lets others than agents patch pods: in namespace %[1]s, and to
// somebody of namespace %[2]s.
const patchers = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: patcher, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [pods, pods/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: patcher, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: patcher}
subjects:
- {kind: ServiceAccount, name: controller, namespace: %[2]s}
- {kind: ServiceAccount, name: person, namespace: %[1]s}
- {kind: User, name: "system:node:kubeapi"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: updater, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [pods, pods/status], verbs: [patch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: updater, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: updater}
subjects:
- {kind: ServiceAccount, name: controller, namespace: %[1]s}
`

func TestPolicyDoesNotAffectOthers(t *testing.T) {
	s := begin(t)
	// Its name begins as that of the namespace of agents does.
	elsewhere := s.namespace + "-controllers"
	if err := cluster.Apply(t.Context(), []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"`+elsewhere+`"}}`)); err != nil {
		t.Fatal(err)
	}
	// The token of a pod, as controllers in a cluster have it.
	controller := func(namespace string) *rest.Config {
		if _, err := cluster.ServiceAccount(t.Context(), namespace, "controller"); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.CreatePod(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "controller"}, Spec: corev1.PodSpec{ServiceAccountName: "controller"},
		}); err != nil {
			t.Fatal(err)
		}
		token, err := cluster.PodToken(t.Context(), namespace, "controller", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return cluster.TokenConfig(token)
	}
	person, err := cluster.ServiceAccount(t.Context(), s.namespace, "person")
	if err != nil {
		t.Fatal(err)
	}
	as := func(user string, groups ...string) *rest.Config {
		cfg := cluster.AdminConfig()
		cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return cfg
	}
	users := map[string]*rest.Config{
		"the admin":   cluster.AdminConfig(),
		"the kubelet": as("system:node:kubeapi", "system:nodes", "system:authenticated"),
		"a controller elsewhere that may only patch":   controller(elsewhere),
		"a controller in the namespace":                controller(s.namespace),
		"a person with a service account's token":      person,
		"an admin in the name of that service account": as("system:serviceaccount:"+s.namespace+":person", "system:authenticated"),
	}
	if err := cluster.Apply(t.Context(), fmt.Appendf(nil, patchers, s.namespace, elsewhere)); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		pods := podsAs(t, users[name], s.namespace)
		s.eventually(t, name+" to be let", func() error {
			if _, err := pods.Patch(t.Context(), "game-0", merge, []byte(`{"metadata":{"labels":{"by":"`+strings.ReplaceAll(name, " ", "-")[:8]+`"}}}`), metav1.PatchOptions{}); err != nil {
				return err
			}
			_, err := pods.Patch(t.Context(), "game-0", strategic, []byte(`{"status":{"phase":"Running","message":"`+name+`","conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
			return err
		})
	}
}
