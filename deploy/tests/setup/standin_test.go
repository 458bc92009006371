package setup_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// account is the state of the stand-in for the aws command. It is the project's only
// stand-in for that command. It knows the commands of setup.sh with the flags that
// the real command requires, and fails all others.
type account struct {
	Roles        map[string]role
	Associations map[string]association // by id
	Providers    map[string]bool        // OIDC providers by ARN
	Addon        bool
	Tags         map[string]string // load balancer to ledger
	// Broken is a command that fails, such as "iam get-role".
	Broken string
	// Calls has every command in order, including those of kubectl.
	Calls []string
}

type role struct {
	Trust    string
	Policies map[string]string
}

type association struct{ Namespace, ServiceAccount, Role string }

const stateVariable = "PORTLEASE_STANDIN"

func readAccount(path string) (a account) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		panic(err)
	}
	return a
}

func (a account) write(path string) {
	text, err := json.Marshal(a)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// standIn is the main function of the test binary when it runs as aws or kubectl.
func standIn(program string, args []string) (code int) {
	path := os.Getenv(stateVariable)
	a := readAccount(path)
	a.Calls = append(a.Calls, program+" "+strings.Join(args, " "))
	defer func() { a.write(path) }()
	if program == "kubectl" {
		fmt.Print("5211ad57-62a7-45dc-a92d-fbf5a438629d")
		return 0
	}
	answer, err := a.answer(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nAn error occurred", err)
		return 254
	}
	fmt.Println(answer)
	return 0
}

// flagsOf reads --flag value…; a flag's list has all its values.
func flagsOf(args []string) map[string][]string {
	flags := map[string][]string{}
	name := ""
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") {
			name = arg[2:]
			flags[name] = []string{}
			continue
		}
		flags[name] = append(flags[name], arg)
	}
	return flags
}

// commands maps the known commands to their flags.
var commands = map[string][]string{
	"sts get-caller-identity":               {"query", "output"},
	"eks describe-cluster":                  {"name", "query", "output"},
	"eks describe-addon":                    {"cluster-name", "addon-name"},
	"eks list-pod-identity-associations":    {"cluster-name", "namespace", "service-account", "query", "output"},
	"eks describe-pod-identity-association": {"cluster-name", "association-id", "query", "output"},
	"eks create-pod-identity-association":   {"cluster-name", "namespace", "service-account", "role-arn"},
	"eks update-pod-identity-association":   {"cluster-name", "association-id", "role-arn"},
	"eks delete-pod-identity-association":   {"cluster-name", "association-id"},
	"iam get-role":                          {"role-name"},
	"iam create-role":                       {"role-name", "description", "assume-role-policy-document"},
	"iam update-assume-role-policy":         {"role-name", "policy-document"},
	"iam put-role-policy":                   {"role-name", "policy-name", "policy-document"},
	"iam get-role-policy":                   {"role-name", "policy-name"},
	"iam delete-role-policy":                {"role-name", "policy-name"},
	"iam delete-role":                       {"role-name"},
	"iam get-open-id-connect-provider":      {"open-id-connect-provider-arn"},
	"iam create-open-id-connect-provider":   {"url", "client-id-list"},
	"elbv2 add-tags":                        {"resource-arns", "tags"},
	"elbv2 remove-tags":                     {"resource-arns", "tag-keys"},
}

func (a *account) answer(args []string) (string, error) {
	command, flags := strings.Join(args[:2], " "), flagsOf(args[2:])
	wanted, known := commands[command]
	for name, values := range flags {
		if !slices.Contains(wanted, name) || len(values) == 0 {
			known = false
		}
	}
	if !known || len(flags) != len(wanted) {
		return "", fmt.Errorf("(Unknown): the stand-in does not know %q", args)
	}
	if command == a.Broken {
		return "", fmt.Errorf("(AccessDenied) when calling %s: not authorized", command)
	}
	one := func(name string) string { return flags[name][0] }
	missing := fmt.Errorf("(NoSuchEntity) when calling %s: cannot be found", command)
	r, exists := role{}, false
	if len(flags["role-name"]) > 0 {
		r, exists = a.Roles[one("role-name")]
		if exists == (command == "iam create-role") {
			return "", missing
		}
	}
	switch command {
	case "sts get-caller-identity":
		return "123456789012", nil
	case "eks describe-cluster":
		if strings.HasSuffix(one("query"), "arn") {
			return "arn:aws:eks:eu-central-1:123456789012:cluster/" + one("name"), nil
		}
		return "https://oidc.eks.eu-central-1.amazonaws.com/id/0123", nil
	case "eks describe-addon":
		if !a.Addon {
			return "", fmt.Errorf("(ResourceNotFoundException) when calling %s", command)
		}
	case "eks list-pod-identity-associations":
		for id, as := range a.Associations {
			if as.Namespace == one("namespace") && as.ServiceAccount == one("service-account") {
				return id, nil
			}
		}
		return "None", nil
	case "eks describe-pod-identity-association":
		return a.Associations[one("association-id")].Role, nil
	case "eks create-pod-identity-association":
		a.Associations[fmt.Sprintf("a-%d", len(a.Associations))] = association{one("namespace"), one("service-account"), one("role-arn")}
	case "eks update-pod-identity-association":
		as := a.Associations[one("association-id")]
		as.Role = one("role-arn")
		a.Associations[one("association-id")] = as
	case "eks delete-pod-identity-association":
		delete(a.Associations, one("association-id"))
	case "iam create-role":
		a.Roles[one("role-name")] = role{Trust: one("assume-role-policy-document"), Policies: map[string]string{}}
	case "iam update-assume-role-policy":
		r.Trust = one("policy-document")
		a.Roles[one("role-name")] = r
	case "iam put-role-policy":
		r.Policies[one("policy-name")] = one("policy-document")
	case "iam get-role-policy", "iam delete-role-policy":
		if r.Policies[one("policy-name")] == "" {
			return "", missing
		}
		if command == "iam delete-role-policy" {
			delete(r.Policies, one("policy-name"))
		}
	case "iam delete-role":
		if len(r.Policies) > 0 {
			return "", fmt.Errorf("(DeleteConflict) when calling %s: must delete policies first", command)
		}
		delete(a.Roles, one("role-name"))
	case "iam get-open-id-connect-provider":
		if !a.Providers[one("open-id-connect-provider-arn")] {
			return "", missing
		}
	case "iam create-open-id-connect-provider":
		a.Providers["arn:aws:iam::123456789012:oidc-provider/"+strings.TrimPrefix(one("url"), "https://")] = true
	case "elbv2 add-tags":
		for _, arn := range flags["resource-arns"] {
			a.Tags[arn] = one("tags")
		}
	case "elbv2 remove-tags":
		for _, arn := range flags["resource-arns"] {
			delete(a.Tags, arn)
		}
	}
	return "", nil
}

// standInName gives the name under which the binary was started.
func standInName() string { return filepath.Base(os.Args[0]) }
