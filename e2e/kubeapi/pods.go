package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Node is the node that pods are bound to. It is only an object; no machine is behind it.
const Node = "kubeapi"

// CreatePod creates the pod and returns it as stored, with its UID. It fills in what the
// caller omits: the namespace "default", the fake node, one container. The pod stays
// Pending until RunPod.
func (a *API) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if pod.Spec.NodeName == "" {
		pod.Spec.NodeName = Node
	}
	if len(pod.Spec.Containers) == 0 {
		pod.Spec.Containers = []corev1.Container{{Name: "game", Image: "game"}}
	}
	created, err := a.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return created, nil
}

// RunPod makes the pod Running and Ready at the given IP, with all containers and native
// sidecars started. It neither changes nor waits for conditions that others set, such as
// those of readiness gates.
func (a *API) RunPod(ctx context.Context, namespace, name, ip string) error {
	return a.changeStatus(ctx, namespace, name, func(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
		running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		return corev1.PodStatus{
			Phase:  corev1.PodRunning,
			HostIP: "127.0.0.1",
			PodIP:  ip,
			PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: conditions(now, corev1.ConditionTrue,
				corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady),
			StartTime:             &now,
			InitContainerStatuses: statuses(sidecars(pod), running, true),
			ContainerStatuses:     statuses(pod.Spec.Containers, running, true),
		}
	})
}

// MovePod gives the pod another IP, as a kubelet does after it recreates the pod's
// sandbox.
func (a *API) MovePod(ctx context.Context, namespace, name, ip string) error {
	// This is a JSON merge patch, because a strategic merge would keep the old IP as well.
	patch, err := json.Marshal(map[string]any{
		"status": corev1.PodStatus{PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}},
	})
	if err != nil {
		return fmt.Errorf("writing the IP of pod %s/%s: %w", namespace, name, err)
	}
	if _, err := a.client.CoreV1().Pods(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("moving pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// FailPod makes the pod Failed; all its containers have ended with exit code 1. The pod
// keeps its IP, as failed pods do.
func (a *API) FailPod(ctx context.Context, namespace, name string) error {
	return a.changeStatus(ctx, namespace, name, func(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
		ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: "Error", FinishedAt: now,
		}}
		return corev1.PodStatus{
			Phase:                 corev1.PodFailed,
			Conditions:            conditions(now, corev1.ConditionFalse, corev1.ContainersReady, corev1.PodReady),
			InitContainerStatuses: statuses(sidecars(pod), ended, false),
			ContainerStatuses:     statuses(pod.Spec.Containers, ended, false),
		}
	})
}

// TerminatePod deletes the pod with a grace period of whole seconds, at least one. The pod
// gets its deletion timestamp and stays until RemovePod, even after the grace period, as
// if its node were lost. A Failed pod is removed at once.
func (a *API) TerminatePod(ctx context.Context, namespace, name string, grace time.Duration) error {
	seconds := max(1, int64(grace/time.Second))
	if err := a.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &seconds}); err != nil {
		return fmt.Errorf("terminating pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// RemovePod removes the pod object at once, as a kubelet does when all containers have
// ended. It succeeds if the pod does not exist.
func (a *API) RemovePod(ctx context.Context, namespace, name string) error {
	err := a.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// changeStatus merges a status into the pod's status. It names the pod by UID, so that a
// new pod of the same name never gets the old pod's status.
func (a *API) changeStatus(ctx context.Context, namespace, name string, status func(*corev1.Pod, metav1.Time) corev1.PodStatus) error {
	pods := a.client.CoreV1().Pods(namespace)
	pod, err := pods.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("looking up the pod to change: %w", err)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   status(pod, metav1.Now()),
	})
	if err != nil {
		return fmt.Errorf("writing the status of pod %s/%s: %w", namespace, name, err)
	}
	if _, err := pods.Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("changing the status of pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

func conditions(now metav1.Time, status corev1.ConditionStatus, names ...corev1.PodConditionType) []corev1.PodCondition {
	var all []corev1.PodCondition
	for _, name := range names {
		all = append(all, corev1.PodCondition{Type: name, Status: status, LastTransitionTime: now})
	}
	return all
}

func statuses(containers []corev1.Container, state corev1.ContainerState, ready bool) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, container := range containers {
		all = append(all, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, State: state, Ready: ready, Started: &ready,
		})
	}
	return all
}

// sidecars returns the init containers with restart policy Always.
func sidecars(pod *corev1.Pod) []corev1.Container {
	var native []corev1.Container
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			native = append(native, container)
		}
	}
	return native
}
