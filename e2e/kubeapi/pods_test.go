package kubeapi

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const readinessGate = "portlease.dev/healthy"

func TestPodLifecycle(t *testing.T) {
	namespace := newNamespace(t)
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game-0"},
		Spec: corev1.PodSpec{
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: readinessGate}},
			InitContainers: []corev1.Container{
				{Name: "setup", Image: "setup"},
				{Name: "agent", Image: "agent", RestartPolicy: &always},
			},
		},
	}
	created, err := shared.CreatePod(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if created.UID == "" || created.Spec.NodeName != Node || created.Status.Phase != corev1.PodPending {
		t.Errorf("created with UID %q on node %q in phase %s", created.UID, created.Spec.NodeName, created.Status.Phase)
	}
	patch := []byte(`{"status":{"conditions":[{"type":"` + readinessGate + `","status":"True"}]}}`)
	if _, err := shared.client.CoreV1().Pods(namespace).Patch(t.Context(), "game-0",
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}

	if err := shared.RunPod(t.Context(), namespace, "game-0", "10.1.2.3"); err != nil {
		t.Fatal(err)
	}
	status := getPod(t, namespace).Status
	if status.Phase != corev1.PodRunning || status.PodIP != "10.1.2.3" ||
		len(status.PodIPs) != 1 || status.PodIPs[0].IP != "10.1.2.3" {
		t.Errorf("running: phase %s, IP %q, IPs %v", status.Phase, status.PodIP, status.PodIPs)
	}
	if err := shared.MovePod(t.Context(), namespace, "game-0", "10.1.2.4"); err != nil {
		t.Fatal(err)
	}
	status = getPod(t, namespace).Status
	if status.PodIP != "10.1.2.4" || len(status.PodIPs) != 1 || status.PodIPs[0].IP != "10.1.2.4" {
		t.Errorf("moved: IP %q, IPs %v", status.PodIP, status.PodIPs)
	}
	for _, condition := range []corev1.PodConditionType{corev1.PodReady, readinessGate} {
		if got := conditionOf(status, condition); got != corev1.ConditionTrue {
			t.Errorf("running: condition %s is %q", condition, got)
		}
	}
	if len(status.ContainerStatuses) != 1 || !status.ContainerStatuses[0].Ready {
		t.Errorf("running: container statuses %v", status.ContainerStatuses)
	}
	if s := status.InitContainerStatuses; len(s) != 1 || s[0].Name != "agent" || s[0].State.Running == nil {
		t.Errorf("running: init container statuses %v", s)
	}

	if err := shared.TerminatePod(t.Context(), namespace, "game-0", 45*time.Second); err != nil {
		t.Fatal(err)
	}
	terminating := getPod(t, namespace)
	if terminating.DeletionTimestamp == nil || *terminating.DeletionGracePeriodSeconds != 45 {
		t.Errorf("terminating: deletion timestamp %v", terminating.DeletionTimestamp)
	}
	if terminating.UID != created.UID || terminating.Status.Phase != corev1.PodRunning {
		t.Errorf("terminating: UID %s, phase %s", terminating.UID, terminating.Status.Phase)
	}

	for range 2 { // the second time, the pod is already removed
		if err := shared.RemovePod(t.Context(), namespace, "game-0"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shared.client.CoreV1().Pods(namespace).Get(t.Context(), "game-0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("removed: %v, want NotFound", err)
	}
	again, err := shared.CreatePod(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if again.UID == created.UID {
		t.Error("a new pod of the same name has the old one's UID")
	}
}

func TestFailPod(t *testing.T) {
	namespace := newNamespace(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game-0"}}
	if _, err := shared.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if err := shared.RunPod(t.Context(), namespace, "game-0", "10.1.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := shared.FailPod(t.Context(), namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	status := getPod(t, namespace).Status
	if status.Phase != corev1.PodFailed || conditionOf(status, corev1.PodReady) != corev1.ConditionFalse {
		t.Errorf("phase %s, ready %s", status.Phase, conditionOf(status, corev1.PodReady))
	}
	if status.PodIP != "10.1.2.3" || status.ContainerStatuses[0].State.Terminated == nil {
		t.Errorf("IP %q, container state %v", status.PodIP, status.ContainerStatuses[0].State)
	}
}

func TestPodMethodsReturnNotFoundForAMissingPod(t *testing.T) {
	namespace := newNamespace(t)
	for verb, err := range map[string]error{
		"RunPod":       shared.RunPod(t.Context(), namespace, "nobody", "10.1.2.3"),
		"MovePod":      shared.MovePod(t.Context(), namespace, "nobody", "10.1.2.3"),
		"FailPod":      shared.FailPod(t.Context(), namespace, "nobody"),
		"TerminatePod": shared.TerminatePod(t.Context(), namespace, "nobody", time.Second),
	} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v, want NotFound", verb, err)
		}
	}
}

func getPod(t *testing.T, namespace string) *corev1.Pod {
	t.Helper()
	pod, err := shared.client.CoreV1().Pods(namespace).Get(t.Context(), "game-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func conditionOf(status corev1.PodStatus, name corev1.PodConditionType) corev1.ConditionStatus {
	for _, condition := range status.Conditions {
		if condition.Type == name {
			return condition.Status
		}
	}
	return ""
}
