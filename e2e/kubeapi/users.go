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

// serviceAccountTTL is how long a service account's token is valid: longer than any test
// or demo.
const serviceAccountTTL = 24 * time.Hour

// AdminConfig returns a copy of the cluster admin's configuration, without a client-side
// rate limit. The caller may change it.
func (a *API) AdminConfig() *rest.Config { return rest.CopyConfig(a.admin) }

// TokenConfig returns a configuration that authenticates with token, without a client-side
// rate limit. The caller may change it.
func (a *API) TokenConfig(token string) *rest.Config {
	config := rest.AnonymousClientConfig(a.admin)
	config.BearerToken = token
	return config
}

// ServiceAccount returns a configuration that authenticates as the service account for a
// day. It creates the account if necessary. A new account has only the rights of every
// authenticated user, until RBAC grants more.
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

// PodToken returns the token that a kubelet would project into the pod: of the pod's
// service account, for one audience. The token is bound to the pod, so token reviews name
// the pod and fail once the pod is gone. The API server refuses a ttl of less than ten
// minutes. An empty audience means the API server itself.
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

// Kubeconfig writes a kubeconfig file with the connection of the given configuration,
// readable by its owner only. The configuration must come from AdminConfig, TokenConfig or
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
