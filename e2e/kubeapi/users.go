package kubeapi

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serviceAccountTTL is how long the configuration of a service account works:
// longer than any test or demo.
const serviceAccountTTL = 24 * time.Hour

// AdminConfig returns a configuration that may do everything and that limits
// no rate. It is the caller's own to change.
func (a *API) AdminConfig() *rest.Config { return rest.CopyConfig(a.admin) }

// TokenConfig returns a configuration that authenticates with token and that
// limits no rate. It is the caller's own to change.
func (a *API) TokenConfig(token string) *rest.Config {
	config := rest.AnonymousClientConfig(a.admin)
	config.BearerToken = token
	return config
}

// ServiceAccount returns a configuration that authenticates, for a day, as the
// service account, which it makes if need be. A service account has the rights
// that RBAC grants it: at first none but those of every authenticated user.
func (a *API) ServiceAccount(ctx context.Context, namespace, name string) (*rest.Config, error) {
	if err := a.makeServiceAccount(ctx, namespace, name); err != nil {
		return nil, err
	}
	token, err := a.requestToken(ctx, namespace, name, authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(serviceAccountTTL / time.Second)),
	})
	if err != nil {
		return nil, err
	}
	return a.TokenConfig(token), nil
}

// PodToken returns the token that a kubelet would project into the pod: of its
// service account, for one audience, and bound to the pod, so that reviews of
// the token name the pod and the token ends with it. The API server refuses a
// ttl of less than ten minutes. An empty audience means the API server itself.
func (a *API) PodToken(ctx context.Context, namespace, pod, audience string, ttl time.Duration) (token string, err error) {
	p, err := a.client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("looking up the pod to bind a token to: %w", err)
	}
	spec := authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(ttl / time.Second)),
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID,
		},
	}
	if audience != "" {
		spec.Audiences = []string{audience}
	}
	return a.requestToken(ctx, namespace, p.Spec.ServiceAccountName, spec)
}

// Kubeconfig writes a kubeconfig file, readable by its owner only, that
// connects as the given configuration does: one of AdminConfig, TokenConfig or
// ServiceAccount.
func (a *API) Kubeconfig(path string, as *rest.Config) error {
	const name = "portlease"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   as.Host,
		CertificateAuthorityData: as.CAData,
	}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: as.CertData,
		ClientKeyData:         as.KeyData,
		Token:                 as.BearerToken,
	}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing a kubeconfig file: %w", err)
	}
	return nil
}

func (a *API) makeServiceAccount(ctx context.Context, namespace, name string) error {
	_, err := a.client.CoreV1().ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making service account %s/%s: %w", namespace, name, err)
	}
	return nil
}

func (a *API) requestToken(ctx context.Context, namespace, name string, spec authenticationv1.TokenRequestSpec) (string, error) {
	request, err := a.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of service account %s/%s: %w", namespace, name, err)
	}
	return request.Status.Token, nil
}
