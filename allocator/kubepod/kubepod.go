// Package kubepod reads pods from the API server and creates events about them.
//
// It reads one pod at a time and caches nothing: the allocator watches no pods.
package kubepod

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/ledger"
)

// Client reads pods and creates events about them.
type Client struct {
	kube     kubernetes.Interface
	instance string
}

// New makes a Client. instance names this replica in events.
func New(kube kubernetes.Interface, instance string) *Client { return &Client{kube, instance} }

// Get is a fresh read of one pod; nil if there is none. It returns ledger.ErrPodForbidden
// for a namespace that exists and is not one of games. With a namespace its RoleBindings
// go, too, so a refused read of a pod in a deleted one means that the pod is gone.
func (c *Client) Get(ctx context.Context, namespace, name string) (*ledger.Pod, error) {
	p, err := c.kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no pod is an answer, not an error
	}
	if apierrors.IsForbidden(err) {
		return nil, c.refused(ctx, namespace, name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	pod := &ledger.Pod{
		UID: string(p.UID), HostNetwork: p.Spec.HostNetwork,
		Terminal: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	for _, ip := range p.Status.PodIPs {
		pod.IPs = append(pod.IPs, ip.IP)
	}
	return pod, nil
}

// refused is the error of a pod that must not be read; nil if its namespace is gone.
func (c *Client) refused(ctx context.Context, namespace, name string, refusal error) error {
	_, err := c.kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading namespace %s, because its pod %s must not be read: %w", namespace, name, err)
	}
	return fmt.Errorf("reading pod %s/%s: %w: %w", namespace, name, ledger.ErrPodForbidden, refusal)
}

// Warn creates a warning event on a pod.
func (c *Client) Warn(ctx context.Context, namespace, pod, uid, reason, message string) error {
	now := metav1.Now()
	_, err := c.kube.CoreV1().Events(namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: pod + ".", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod, UID: types.UID(uid)},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message,
		Source: corev1.EventSource{Component: "portlease-allocator"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "portlease-allocator", ReportingInstance: c.instance,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating an event on pod %s/%s: %w", namespace, pod, err)
	}
	return nil
}
