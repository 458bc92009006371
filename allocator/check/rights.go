package check

import (
	"slices"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
)

// RequiredRights are all rights that the allocator needs, exactly those that the
// chart grants. secret is the one where the replicas keep their certificates, empty
// if they keep none. trustNamespaces are where the ConfigMap for callers is kept, and games
// those with agents.
func RequiredRights(namespace, secret string, trustNamespaces, games []string) []auth.Right {
	rights := []auth.Right{
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
		{Verb: "get", Resource: "namespaces"},
	}
	for _, n := range games {
		rights = append(rights, auth.Right{Verb: "get", Resource: "pods", Namespace: n}, auth.Right{Verb: "create", Resource: "events", Namespace: n})
	}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "delete"} {
		rights = append(rights, auth.Right{Verb: verb, Group: "coordination.k8s.io", Resource: "leases", Namespace: namespace})
	}
	var secrets []string
	if secret != "" {
		secrets = append(secrets, secret)
	}
	if len(trustNamespaces) > 0 {
		secrets = append(secrets, kubecerts.TrustSecret)
	}
	if len(secrets) > 0 {
		rights = slices.Concat(rights, keep("secrets", namespace, secrets...))
	}
	for _, n := range trustNamespaces {
		rights = slices.Concat(rights, keep("configmaps", n, kubecerts.ConfigMap))
	}
	return rights
}

// keep are the rights to create, read and update objects. RBAC cannot limit create to a
// name.
func keep(resource, namespace string, names ...string) []auth.Right {
	rights := []auth.Right{{Verb: "create", Resource: resource, Namespace: namespace}}
	for _, name := range names {
		for _, verb := range []string{"get", "update"} {
			rights = append(rights, auth.Right{Verb: verb, Resource: resource, Name: name, Namespace: namespace})
		}
	}
	return rights
}
