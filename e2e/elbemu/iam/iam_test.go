package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// policy wraps statements in a document.
func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// allow returns a statement that allows deleting target groups under a condition.
func allow(condition string) string {
	return `{"Effect":"Allow","Action":"elasticloadbalancing:DeleteTargetGroup","Resource":"*","Condition":` + condition + `}`
}

const group = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/pl-a/0123456789abcdef"

// request returns a request to delete the group. A key has the form name=value, or name
// alone if its value is empty. A repeated name adds a value.
func request(pairs ...string) iam.Request {
	r := iam.Request{Action: "elasticloadbalancing:DeleteTargetGroup", Resource: group, Keys: iam.Keys{}}
	given := map[string][]string{}
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if found {
			given[name] = append(given[name], value)
		} else {
			given[name] = []string{}
		}
		r.Keys.Set(name, given[name]...)
	}
	return r
}

func TestConditions(t *testing.T) {
	rows := []struct {
		condition string
		keys      []string
		want      iam.Verdict
	}{
		{`{"StringEquals":{"aws:ResourceTag/a":"1"}}`, []string{"aws:ResourceTag/a=1"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"1"}}`, []string{"aws:ResourceTag/a=2"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"1"}}`, nil, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":["1","2"]}}`, []string{"aws:ResourceTag/a=2"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"x"}}`, []string{"aws:ResourceTag/a=X"}, iam.NotAllowed},
		{`{"StringEquals":{"AWS:resourcetag/A":"x"}}`, []string{"aws:ResourceTag/a=x"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"*"}}`, []string{"aws:ResourceTag/a=x"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"1","aws:ResourceTag/b":"2"}}`, []string{"aws:ResourceTag/a=1"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"1"},"StringLike":{"aws:ResourceTag/b":"2"}}`, []string{"aws:ResourceTag/a=1"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"1"},"StringLike":{"aws:ResourceTag/b":"2"}}`, []string{"aws:ResourceTag/a=1", "aws:ResourceTag/b=2"}, iam.Allowed},
		{`{"StringNotEquals":{"aws:ResourceTag/a":["1","2"]}}`, []string{"aws:ResourceTag/a=2"}, iam.NotAllowed},
		{`{"StringNotEquals":{"aws:ResourceTag/a":["1","2"]}}`, []string{"aws:ResourceTag/a=3"}, iam.Allowed},
		{`{"StringNotEquals":{"aws:ResourceTag/a":"1"}}`, nil, iam.Allowed},
		{`{"StringLike":{"aws:ResourceTag/a":"x*z"}}`, []string{"aws:ResourceTag/a=xyyz"}, iam.Allowed},
		{`{"StringLike":{"aws:ResourceTag/a":"x?z"}}`, []string{"aws:ResourceTag/a=xyyz"}, iam.NotAllowed},
		{`{"StringLike":{"aws:ResourceTag/a":"x${*}"}}`, []string{"aws:ResourceTag/a=xy"}, iam.NotAllowed},
		{`{"StringLike":{"aws:ResourceTag/a":"x${*}"}}`, []string{"aws:ResourceTag/a=x*"}, iam.Allowed},
		{`{"StringNotLike":{"aws:ResourceTag/a":"x*"}}`, []string{"aws:ResourceTag/a=xy"}, iam.NotAllowed},
		{`{"StringEqualsIfExists":{"aws:ResourceTag/a":"1"}}`, nil, iam.Allowed},
		{`{"StringEqualsIfExists":{"aws:ResourceTag/a":"1"}}`, []string{"aws:ResourceTag/a=2"}, iam.NotAllowed},
		{`{"Null":{"aws:ResourceTag/a":"true"}}`, nil, iam.Allowed},
		{`{"Null":{"aws:ResourceTag/a":true}}`, []string{"aws:ResourceTag/a=1"}, iam.NotAllowed},
		{`{"Null":{"aws:ResourceTag/a":"false"}}`, []string{"aws:ResourceTag/a=1"}, iam.Allowed},
		{`{"Null":{"aws:ResourceTag/a":"false"}}`, nil, iam.NotAllowed},
		{`{"Null":{"aws:TagKeys":"true"}}`, []string{"aws:TagKeys"}, iam.Allowed},
		{`{"Bool":{"aws:SecureTransport":"true"}}`, []string{"aws:SecureTransport=true"}, iam.Allowed},
		{`{"Bool":{"aws:SecureTransport":true}}`, []string{"aws:SecureTransport=false"}, iam.NotAllowed},
		{`{"Bool":{"aws:SecureTransport":"true"}}`, nil, iam.NotAllowed},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"aws:TagKeys=a", "aws:TagKeys=b"}, iam.Allowed},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"aws:TagKeys=a", "aws:TagKeys=c"}, iam.NotAllowed},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, nil, iam.Allowed},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"aws:TagKeys"}, iam.Allowed},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a"]}}`, []string{"aws:TagKeys=b", "aws:TagKeys=a"}, iam.NotAllowed},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"aws:TagKeys=c", "aws:TagKeys=b"}, iam.Allowed},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"aws:TagKeys=c"}, iam.NotAllowed},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`, nil, iam.NotAllowed},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a"]}}`, nil, iam.NotAllowed},
		{`{"ForAnyValue:StringLike":{"aws:TagKeys":"po*"}}`, []string{"aws:TagKeys=port"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p}"}}`, []string{"aws:ResourceTag/a=1", "aws:PrincipalTag/p=1"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p}"}}`, []string{"aws:ResourceTag/a=1", "aws:PrincipalTag/p=2"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p}"}}`, []string{"aws:ResourceTag/a="}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":["1","${aws:PrincipalTag/p}"]}}`, []string{"aws:ResourceTag/a=1"}, iam.NotAllowed},
		{`{"StringNotEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p}"}}`, []string{"aws:ResourceTag/a=1"}, iam.NotAllowed},
		{`{"StringLike":{"aws:ResourceTag/a":"${aws:PrincipalTag/p}"}}`, []string{"aws:ResourceTag/a=1", "aws:PrincipalTag/p=*"}, iam.NotAllowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p, 'none'}"}}`, []string{"aws:ResourceTag/a=none"}, iam.Allowed},
		{`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p, ''}"}}`, []string{"aws:ResourceTag/a="}, iam.Allowed},
	}
	for i, row := range rows {
		p, err := iam.Parse([]byte(policy(allow(row.condition))))
		if err != nil {
			t.Errorf("row %d: %s: %v", i+1, row.condition, err)
			continue
		}
		if got, _ := p.Decide(request(row.keys...)); got != row.want {
			t.Errorf("row %d: %s with %v: got %v, want %v", i+1, row.condition, row.keys, got, row.want)
		}
	}
}

func TestStatements(t *testing.T) {
	statement := func(effect, action, resource string) string {
		return fmt.Sprintf(`{"Sid":%q,"Effect":%q,"Action":%s,"Resource":%s}`, effect+fmt.Sprint(len(action)), effect, action, resource)
	}
	rows := []struct {
		name       string
		statements []string
		want       iam.Verdict
	}{
		{"exact", []string{statement("Allow", `"elasticloadbalancing:DeleteTargetGroup"`, `"`+group+`"`)}, iam.Allowed},
		{"action in another case", []string{statement("Allow", `"elasticloadbalancing:deletetargetgroup"`, `"*"`)}, iam.Allowed},
		{"wildcard action", []string{statement("Allow", `"elasticloadbalancing:*Group"`, `"*"`)}, iam.Allowed},
		{"every action", []string{statement("Allow", `"*"`, `"*"`)}, iam.Allowed},
		{"one of the actions", []string{statement("Allow", `["elasticloadbalancing:AddTags","elasticloadbalancing:DeleteTargetGroup"]`, `"*"`)}, iam.Allowed},
		{"another action", []string{statement("Allow", `"elasticloadbalancing:DeleteTargetGroups"`, `"*"`)}, iam.NotAllowed},
		{"one of the resources", []string{statement("Allow", `"*"`, `["arn:aws:s3:::x","arn:aws:elasticloadbalancing:*:*:targetgroup/pl-*/*"]`)}, iam.Allowed},
		{"another name", []string{statement("Allow", `"*"`, `"arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/qq-*/*"`)}, iam.NotAllowed},
		{"another account", []string{statement("Allow", `"*"`, `"arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/pl-*/*"`)}, iam.NotAllowed},
		{"deny wins, first", []string{statement("Deny", `"*"`, `"*"`), statement("Allow", `"*"`, `"*"`)}, iam.Denied},
		{"deny wins, last", []string{statement("Allow", `"*"`, `"*"`), statement("Deny", `"*"`, `"*"`)}, iam.Denied},
		{"deny of something else", []string{statement("Allow", `"*"`, `"*"`), statement("Deny", `"elasticloadbalancing:AddTags"`, `"*"`)}, iam.Allowed},
	}
	for _, row := range rows {
		p, err := iam.Parse([]byte(policy(row.statements...)))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got, _ := p.Decide(request()); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

// Only "*" matches an action without resources. A resource may contain a variable.
func TestActionWithoutResourcesMatchesOnlyTheWildcard(t *testing.T) {
	for resource, want := range map[string]iam.Verdict{"*": iam.Allowed, "arn:aws:elasticloadbalancing:*:*:*": iam.NotAllowed} {
		p, err := iam.Parse([]byte(policy(`{"Effect":"Allow","Action":"elasticloadbalancing:Describe*","Resource":"` + resource + `"}`)))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Decide(iam.Request{Action: "elasticloadbalancing:DescribeTags", Resource: "*"}); got != want {
			t.Errorf("%s: got %v, want %v", resource, got, want)
		}
	}
	p, err := iam.Parse([]byte(policy(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:elasticloadbalancing:*:*:targetgroup/${aws:PrincipalTag/p}/*"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		keys []string
		want iam.Verdict
	}{{[]string{"aws:PrincipalTag/p=pl-a"}, iam.Allowed}, {[]string{"aws:PrincipalTag/p=pl-b"}, iam.NotAllowed}, {nil, iam.NotAllowed}} {
		if got, _ := p.Decide(request(row.keys...)); got != row.want {
			t.Errorf("%v: got %v, want %v", row.keys, got, row.want)
		}
	}
}

func TestUses(t *testing.T) {
	p, err := iam.Parse([]byte(policy(
		`{"Sid":"A","Effect":"Allow","Action":["elasticloadbalancing:AddTags","elasticloadbalancing:Delete*"],"Resource":"*"}`,
		`{"Sid":"B","Effect":"Allow","Action":"*","Resource":"*"}`)))
	if err != nil {
		t.Fatal(err)
	}
	_, uses := p.Decide(request())
	if got := fmt.Sprint(uses); got != "[{A elasticloadbalancing:Delete*} {B *}]" {
		t.Errorf("it rests on %s", got)
	}
	if got := fmt.Sprint(p.Uses()); got != "[{A elasticloadbalancing:AddTags} {A elasticloadbalancing:Delete*} {B *}]" {
		t.Errorf("there are %s", got)
	}
}

func TestParseRefusesInvalidPolicies(t *testing.T) {
	const plain = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	rows := map[string][]string{
		`nonsense`:                    {"reading the policy"},
		policy(plain) + "x":           {"something follows"},
		`{"Statement":` + plain + `}`: {`version ""`, "2012-10-17"},
		policy():                      {"no statement"},
		`{"Version":"2012-10-17","Statement":` + plain + `,"Owner":"x"}`:                                                               {`"Owner"`},
		policy(`{"Effect":"Allow","NotAction":"*","Resource":"*"}`):                                                                    {`"NotAction"`},
		policy(`{"Effect":"Allow","Action":"*","NotResource":"*"}`):                                                                    {`"NotResource"`},
		policy(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}`):                                                       {`"Principal"`},
		policy(`{"Effect":"allow","Action":"*","Resource":"*"}`):                                                                       {`"allow"`, "Allow or Deny"},
		policy(`{"Effect":"Allow","Resource":"*"}`):                                                                                    {"needs Action and Resource"},
		policy(`{"Effect":"Allow","Action":"DeleteListener","Resource":"*"}`):                                                          {`"DeleteListener"`, "service:Name"},
		policy(`{"Effect":"Allow","Action":"*","Resource":"targetgroup/*"}`):                                                           {`"targetgroup/*"`, "ARN"},
		policy(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:elasticloadbalancing:r:12:x"}`):                                     {"ARN"},
		policy(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:elasticloadbalancing:<region>:*:x"}`):                               {"<region>", "not filled in"},
		policy(`{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}`, `{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}`): {`another "A"`},
		policy(`{"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"}`):                                                           {"letters and digits"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":"1"},"StringEquals":{"aws:ResourceTag/b":"1"}}`)):                           {`"StringEquals"`, "twice"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":"1","aws:resourceTag/a":"2"}}`)):                                            {"twice"},
		policy(allow(`{"StringMatches":{"aws:ResourceTag/a":"1"}}`)):                                                                   {`"StringMatches"`},
		policy(allow(`{"NumericEquals":{"aws:ResourceTag/a":"1"}}`)):                                                                   {`"NumericEquals"`},
		policy(allow(`{"ForSomeValues:StringEquals":{"aws:TagKeys":"1"}}`)):                                                            {`"ForSomeValues:StringEquals"`},
		policy(allow(`{"ForAllValues:Null":{"aws:TagKeys":"true"}}`)):                                                                  {`"ForAllValues:Null"`},
		policy(allow(`{"NullIfExists":{"aws:TagKeys":"true"}}`)):                                                                       {`"NullIfExists"`},
		policy(allow(`{"StringEquals":{"aws:SourceIp":"1"}}`)):                                                                         {`"aws:SourceIp"`},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/":"1"}}`)):                                                                     {`"aws:ResourceTag/"`},
		policy(allow(`{"StringEquals":{"elasticloadbalancing:ListenerPort":"1"}}`)):                                                    {`"elasticloadbalancing:ListenerPort"`},
		policy(allow(`{"StringEquals":{"aws:TagKeys":"1"}}`)):                                                                          {`"aws:TagKeys"`, "ForAllValues:"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":[]}}`)):                                                                     {"no value"},
		policy(allow(`{"Null":{"aws:ResourceTag/a":"yes"}}`)):                                                                          {`"yes"`, "true or false"},
		policy(allow(`{"Bool":{"aws:SecureTransport":"1"}}`)):                                                                          {`"1"`, "true or false"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":"${aws:userid}"}}`)):                                                        {"${aws:userid}"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":"${aws:TagKeys}"}}`)):                                                       {"${aws:TagKeys}"},
		policy(allow(`{"StringEquals":{"aws:ResourceTag/a":"${aws:PrincipalTag/p"}}`)):                                                 {"is no variable"},
	}
	for text, says := range rows {
		_, err := iam.Parse([]byte(text))
		if err == nil {
			t.Errorf("taken: %s", text)
			continue
		}
		for _, part := range says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: does not say %q: %v", text, part, err)
			}
		}
	}
}

// FuzzParse checks that every input is parsed or refused, without a panic.
func FuzzParse(f *testing.F) {
	f.Add(policy(allow(`{"ForAllValues:StringLike":{"aws:TagKeys":["a*","${aws:PrincipalTag/p, 'x'}"]}}`)))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := iam.Parse([]byte(text))
		if err != nil {
			return
		}
		if verdict, uses := p.Decide(request("aws:TagKeys=a")); (verdict == iam.NotAllowed) != (len(uses) == 0) {
			t.Errorf("%v rests on %v", verdict, uses)
		}
	})
}
