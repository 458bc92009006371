package chart

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Games is the namespace of game servers in the golden file of the case "plain".
const Games = "games"

// Object is one object of a rendering.
type Object struct {
	APIVersion, Kind, Name string
	// Namespace is empty for objects of the whole cluster.
	Namespace string
	// Text is its YAML.
	Text string
}

// Objects splits a rendering into its objects.
func Objects(rendered string) ([]Object, error) {
	var objects []Object
	for text := range strings.SplitSeq("\n"+rendered, "\n---\n") {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			return nil, fmt.Errorf("reading a rendering: %w", err)
		}
		if head.Kind != "" {
			objects = append(objects, Object{head.APIVersion, head.Kind, head.Metadata.Name, head.Metadata.Namespace, text})
		}
	}
	return objects, nil
}

// Settings returns the variables of the allocator's container in a rendering. Those that
// the kubelet sets are empty. Arguments are an error: allocator check in the container
// would not know them.
func Settings(rendered string) (map[string]string, error) {
	objects, err := Objects(rendered)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(objects, func(o Object) bool { return o.Kind == "Deployment" && o.Name == "portlease-allocator" })
	if at < 0 {
		return nil, errors.New("there is no Deployment of the allocator")
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal([]byte(objects[at].Text), &deployment); err != nil {
		return nil, fmt.Errorf("reading the Deployment: %w", err)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	if len(container.Args) > 0 || len(container.Command) > 0 {
		return nil, fmt.Errorf("the allocator has arguments: %q", slices.Concat(container.Command, container.Args))
	}
	settings := make(map[string]string)
	for _, v := range container.Env {
		if _, twice := settings[v.Name]; twice {
			return nil, fmt.Errorf("variable %s is listed twice", v.Name)
		}
		settings[v.Name] = v.Value
	}
	return settings, nil
}

// Rights are the kinds of objects that grant rights.
var Rights = []string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

// Confining reports whether an object grants rights or confines agents. These are the
// objects that matter to an API server without nodes. [Object.In] makes them fit for
// several installations in one.
func (o Object) Confining() bool {
	return slices.Contains(Rights, o.Kind) || strings.HasPrefix(o.Name, "portlease-agent") && strings.HasPrefix(o.Kind, "ValidatingAdmissionPolicy")
}

// mention is a place where an object names a namespace: in a field, in the list of a
// policy's namespaceSelector, or in the name of a service account.
var mention = regexp.MustCompile(`(?m)(^\s*namespace: |^ {8}- |system:serviceaccount:)(portlease|games)(:|$)`)

// nameField is the name of an object, or the policy that a binding refers to.
var nameField = regexp.MustCompile(`(?m)^(metadata:\n  name: |  policyName: ).*$`)

// In returns a Confining object for other namespaces than [Namespace] and [Games]. An
// object of the whole cluster that names one also gets another name.
func (o Object) In(namespace, games string) Object {
	names := map[string]string{Namespace: namespace, Games: games}
	o.Text = mention.ReplaceAllStringFunc(o.Text, func(found string) string {
		m := mention.FindStringSubmatch(found)
		return m[1] + names[m[2]] + m[3]
	})
	switch {
	case o.Kind == "ClusterRoleBinding":
		o = o.named(o.Name + "-" + namespace)
	case strings.HasPrefix(o.Kind, "ValidatingAdmissionPolicy"):
		o = o.named(o.Name + "-" + games)
	}
	if other, ok := names[o.Namespace]; ok {
		o.Namespace = other
	}
	return o
}

// named gives the object another name, and lets a policy's binding refer to that name.
func (o Object) named(name string) Object {
	o.Name = name
	o.Text = nameField.ReplaceAllString(o.Text, "${1}"+name)
	return o
}
