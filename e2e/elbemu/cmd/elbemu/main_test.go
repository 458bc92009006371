package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func TestInvalidFlagsAreRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	})
	rows := []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"-subnet", "foo"}, exitUsage, []string{`"foo"`, "-subnet", "id=CIDR@zone"}},
		{[]string{"-vpc", "v=10.0.0.0"}, exitUsage, []string{`"v=10.0.0.0"`, "-vpc", "id=CIDR"}},
		{[]string{"-profile", "slow"}, exitUsage, []string{`"slow"`, "-profile", "instant or aws"}},
		{[]string{"-account", "12"}, exitUsage, []string{`"12"`, "-account", "twelve digits"}},
		{[]string{"-data-plane=perhaps"}, exitUsage, []string{`"perhaps"`, "-data-plane"}},
		{[]string{"-lissten", "x"}, exitUsage, []string{"-lissten", "--help"}},
		{[]string{"-principal", "AKID"}, exitUsage, []string{"-principal", "access key=file"}},
		{[]string{"-principal", "AKID=/nonexistent"}, exitUsage, []string{"-principal", "/nonexistent"}},
		{[]string{"-principal", "AKID=" + written(t, `{"polcy":{}}`)}, exitUsage, []string{"-principal", "polcy"}},
		{[]string{"-principal", "AKID=" + written(t, `{"policy":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}}`)}, exitUsage, []string{"AKID", `"Principal"`}},
		{[]string{"extra"}, exitUsage, []string{`"extra"`, "--help"}},
		{[]string{"-vpc", "v=10.0.0.0/16", "-subnet", "s=10.1.0.0/24@a"}, exitUsage, []string{`"s"`, "10.1.0.0/24", "no VPC"}},
		{[]string{"-listen", taken.Addr().String()}, exitFailure, []string{"-listen", taken.Addr().String(), "free address"}},
	}
	for _, row := range rows {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), row.args, &out, &errs); code != row.code {
				t.Errorf("exit %d, want %d", code, row.code)
			}
			if lines := strings.Count(errs.String(), "\n"); lines != 1 {
				t.Errorf("%d lines: %s", lines, &errs)
			}
			for _, text := range row.says {
				if !strings.Contains(errs.String(), text) {
					t.Errorf("does not say %q: %s", text, &errs)
				}
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	for _, name := range []string{"-listen", "-region", "-account", "-vpc", "-subnet", "-profile", "-data-plane", "-principal"} {
		if !strings.Contains(out.String(), name+" ") && !strings.Contains(out.String(), name+"\n") {
			t.Errorf("%s is missing: %s", name, &out)
		}
	}
}

// written writes the text to a file and returns its path.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "principal.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProcessServesUntilStopped starts the program, uses it as its output says, and stops
// it.
func TestProcessServesUntilStopped(t *testing.T) {
	program := filepath.Join(t.TempDir(), "elbemu")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const looks = `{"tags":{"a":"b"},"policy":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"elasticloadbalancing:DescribeTags","Resource":"*"}}}`
	process := exec.CommandContext(ctx, program, "-listen", "127.0.0.1:0", "-principal", "AKIDFIRST="+written(t, looks), "-vpc", "vpc-1=10.0.0.0/16", "-subnet", "subnet-1=10.0.0.0/24@zone-a")
	var log bytes.Buffer
	process.Stderr = &log
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err, log.String())
	}
	endpoint := strings.TrimSpace(strings.TrimPrefix(first, "elbemu answers at "))
	client := elb.New(elb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: aws.AnonymousCredentials{}})
	if _, err := client.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		Name: aws.String("nlb"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-1"},
	}); err != nil {
		t.Fatal(err)
	}
	put := func(key, text string) int {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, endpoint+principalsPath+key, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if first, second, broken := put("AKIDLATER", looks), put("AKIDLATER", looks), put("AKIDLATER", "{}"); first != http.StatusNoContent || second != http.StatusNoContent || broken != http.StatusBadRequest {
		t.Errorf("principals are answered %d, %d, %d", first, second, broken)
	}
	for _, key := range []string{"AKIDFIRST", "AKIDLATER"} {
		restricted := elb.New(elb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider(key, "s", "")})
		if _, err := restricted.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &log)
	}
	for text, in := range map[string]string{
		"subnet-1": string(rest), "any credentials, 1 of them with a policy": string(rest), "aws elbv2 create-load-balancer": string(rest), endpoint: string(rest),
		"action=CreateLoadBalancer status=200": log.String(), "elbemu stopped": log.String(),
	} {
		if !strings.Contains(in, text) {
			t.Errorf("%q is missing in: %s", text, in)
		}
	}
}
