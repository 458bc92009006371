package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// poisonTrust adds the attacker's CA to the allocator's ConfigMap, which many may write.
// Agents must not be told to trust it.
func poisonTrust(ctx context.Context, w *world) (judge, error) {
	// The leader checks the ConfigMaps every ten seconds.
	const limit = 25 * time.Second
	authority, err := kubeapi.NewAuthority()
	if err != nil {
		return nil, err
	}
	bundle := func(ctx context.Context, namespace string) (string, error) {
		found, err := w.Admin.CoreV1().ConfigMaps(namespace).Get(ctx, kubecerts.ConfigMap, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("reading the CAs of %s: %w", namespace, err)
		}
		return found.Data[kubecerts.Certificates], nil
	}
	before, err := bundle(ctx, w.Namespace)
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]string{kubecerts.Certificates: before + string(authority.PEM)}})
	if err != nil {
		return nil, fmt.Errorf("writing a patch: %w", err)
	}
	if _, err := w.Admin.CoreV1().ConfigMaps(w.Namespace).Patch(ctx, kubecerts.ConfigMap, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, fmt.Errorf("poisoning the CAs: %w", err)
	}
	began := time.Now()
	return func(ctx context.Context) (outcome, error) {
		ctx, cancel := context.WithDeadline(ctx, began.Add(limit))
		defer cancel()
		trusted := false
		err := scenario.Poll(ctx, 100*time.Millisecond, func() error {
			agents, err := bundle(ctx, w.Games)
			if err != nil {
				return err
			}
			own, err := bundle(ctx, w.Namespace)
			if err != nil {
				return err
			}
			trusted = strings.Contains(agents, string(authority.PEM))
			if !trusted && strings.Contains(own, string(authority.PEM)) {
				return errors.New("the leader has not looked yet")
			}
			return nil
		})
		switch {
		case err != nil:
			return outcome{}, fmt.Errorf("waiting for the CAs to be published: %w", err)
		case trusted:
			return got(true, "a CA that all agents trust")
		}
		return got(false, "the leader removed the CA after %.0f s", time.Since(began).Seconds())
	}, nil
}
