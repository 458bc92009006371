// Package policies reads the IAM policies of deploy/iam and fills in their
// placeholders, so that tests use the released files.
package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// File names of the policies.
const (
	AgentPodIdentity = "agent-pod-identity.json"
	AgentIRSA        = "agent-irsa.json"
	Janitor          = "janitor.json"
	// SourceVPC is added to any of them.
	SourceVPC = "source-vpc.json"
)

// Values replace the placeholders.
type Values struct {
	Partition, Region, Account string
	// Ledger is the id of the installation.
	Ledger string
	// Namespace is the game servers' namespace. Only agent-irsa.json uses it.
	Namespace string
	// VPC is the one that calls may come from. Only source-vpc.json uses it.
	VPC string
}

// Read gives a policy with its placeholders replaced.
func Read(file string, v Values) ([]byte, error) {
	folder, err := deployed()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return nil, fmt.Errorf("reading a policy: %w", err)
	}
	filled := strings.NewReplacer(
		"<partition>", v.Partition, "<region>", v.Region, "<account>", v.Account, "<ledger>", v.Ledger, "<namespace>", v.Namespace, "<vpc>", v.VPC,
	).Replace(string(text))
	return []byte(filled), nil
}

// deployed finds deploy/iam above the working folder, so that a test in a copy of the
// repository reads the copy.
func deployed() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding deploy/iam: %w", err)
	}
	for at := start; ; at = filepath.Dir(at) {
		folder := filepath.Join(at, "deploy", "iam")
		if _, err := os.Stat(folder); err == nil {
			return folder, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("there is no deploy/iam above %s", start)
		}
	}
}

// SessionTags gives those session tags of EKS Pod Identity that the policies use (EKS
// user guide, "Grant Pods access to AWS resources based on tags").
func SessionTags(namespace, pod, podUID string) map[string]string {
	return map[string]string{"kubernetes-namespace": namespace, "kubernetes-pod-name": pod, "kubernetes-pod-uid": podUID}
}
