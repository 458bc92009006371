package kubeapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// auditPolicy records the user, the request and the status of every answer, without
// bodies. It omits RequestReceived, because at that stage there is no answer yet.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// AuditEntry is one request to the API server and its answer.
type AuditEntry struct {
	User        string // as RBAC names it, such as system:serviceaccount:game:agent
	Verb        string // as RBAC names it, such as get, list, patch
	Group       string // API group, empty for the core group
	Resource    string // plural; empty if Path is not a resource
	Subresource string
	Namespace   string // empty if the resource is cluster-scoped
	Name        string // empty if the request named none
	Path        string
	Code        int // HTTP status of the answer
}

// auditEvent has the fields of an audit.k8s.io/v1 Event that this package reads.
type auditEvent struct {
	AuditID string `json:"auditID"`
	Verb    string `json:"verb"`
	Path    string `json:"requestURI"`
	User    struct {
		Name string `json:"username"`
	} `json:"user"`
	Object struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// AuditEntries returns all requests answered since the start, in the order of their
// answers, including this package's own. An entry may appear a moment after its answer, so
// poll for it. A watch appears once, as soon as it is open. AuditEntries fails if the API
// was started without Config.Audit.
func (a *API) AuditEntries() ([]AuditEntry, error) {
	if a.auditLog == "" {
		return nil, errors.New("reading the audit log: the API was started without Config.Audit")
	}
	log, err := os.ReadFile(a.auditLog)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return readAudit(log)
}

func readAudit(log []byte) ([]AuditEntry, error) {
	var entries []AuditEntry
	seen := map[string]bool{} // by audit ID
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // still being written
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if seen[e.AuditID] {
			continue
		}
		seen[e.AuditID] = true
		entries = append(entries, AuditEntry{
			User: e.User.Name, Verb: e.Verb, Group: e.Object.Group, Resource: e.Object.Resource,
			Subresource: e.Object.Subresource, Namespace: e.Object.Namespace, Name: e.Object.Name,
			Path: e.Path, Code: e.Response.Code,
		})
	}
	return entries, nil
}
