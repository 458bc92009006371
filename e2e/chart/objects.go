package chart

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// Games is the namespace of game servers in the golden file of the case "plain".
const Games = "games"

// Object is one of a rendering.
type Object struct {
	APIVersion, Kind, Name string
	// Namespace is empty for what belongs to the whole cluster.
	Namespace string
	// Text is its YAML.
	Text string
}

// Objects reads a rendering.
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

// Rights are the kinds by which the chart says who may do what.
var Rights = []string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

// Confining tells whether an object says what the parts may do, or keeps agents from
// doing more: that is all of the chart that means something to an API server without
// nodes and that several installations can share.
func (o Object) Confining() bool {
	return slices.Contains(Rights, o.Kind) || o.Name == "portlease-agent" && strings.HasPrefix(o.Kind, "ValidatingAdmissionPolicy")
}

var (
	namespaceField = regexp.MustCompile(`(?m)^(\s*namespace: )(portlease|games)$`)
	nameField      = regexp.MustCompile(`(?m)^  name: .*$`)
)

// In gives what is Confining for other namespaces than [Namespace] and [Games]. A
// binding that belongs to the whole cluster gets a name of its own.
func (o Object) In(namespace, games string) Object {
	names := map[string]string{Namespace: namespace, Games: games}
	o.Text = namespaceField.ReplaceAllStringFunc(o.Text, func(field string) string {
		m := namespaceField.FindStringSubmatch(field)
		return m[1] + names[m[2]]
	})
	if o.Kind == "ClusterRoleBinding" {
		o.Name += "-" + namespace
		first := nameField.FindStringIndex(o.Text)
		o.Text = o.Text[:first[0]] + "  name: " + o.Name + o.Text[first[1]:]
	}
	if other, ok := names[o.Namespace]; ok {
		o.Namespace = other
	}
	return o
}
