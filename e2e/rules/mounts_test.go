package rules_test

import (
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/portlease/portlease/shared/api"
)

// filesAreMounted holds the files to be where the agent looks for them by default,
// and the shared folder to be one for agent and game.
func (e *example) filesAreMounted() {
	at := func(c corev1.Container, path string) (volume string) {
		for _, m := range c.VolumeMounts {
			if m.MountPath == path {
				return m.Name
			}
		}
		return ""
	}
	dir := e.defaults["PORTLEASE_DIR"]
	if ours, theirs := at(*e.agent, dir), at(e.game, dir); ours == "" || ours != theirs {
		e.Errorf("agent and game have volumes %q and %q at %s", ours, theirs, dir)
	}
	for variable, is := range map[string]func(corev1.VolumeProjection, string) bool{
		"PORTLEASE_TOKEN_FILE":      tokenFor(api.Audience),
		"PORTLEASE_KUBE_TOKEN_FILE": tokenFor(""),
		"PORTLEASE_KUBE_CA":         certificates("kube-root-ca.crt"),
		"PORTLEASE_ALLOCATOR_CA":    certificates("portlease-ca"),
	} {
		folder, file := filepath.Split(e.defaults[variable])
		volume := at(*e.agent, filepath.Clean(folder))
		if !slices.ContainsFunc(e.pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.Name == volume && v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return is(s, file) })
		}) {
			e.Errorf("nothing is at %s, where %s expects it", e.defaults[variable], variable)
		}
		if at(e.game, filepath.Clean(folder)) != "" {
			e.Error("the game has the agent's identity")
		}
	}
	if mount := e.pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		e.Error("the game has a token for the API server")
	}
}

func tokenFor(audience string) func(corev1.VolumeProjection, string) bool {
	return func(s corev1.VolumeProjection, file string) bool {
		return s.ServiceAccountToken != nil && s.ServiceAccountToken.Path == file && s.ServiceAccountToken.Audience == audience
	}
}

func certificates(configMap string) func(corev1.VolumeProjection, string) bool {
	return func(s corev1.VolumeProjection, file string) bool {
		return s.ConfigMap != nil && s.ConfigMap.Name == configMap &&
			slices.ContainsFunc(s.ConfigMap.Items, func(k corev1.KeyToPath) bool { return k.Key == "ca.crt" && k.Path == file })
	}
}
