package elbemu_test

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

func TestTakenPortIsReportedInTheSnapshot(t *testing.T) {
	var log syncBuffer
	w := newWorld(t, elbemu.Config{DataPlane: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, 1)
	other, err := net.Listen("tcp", w.dnsName(lb)+":30000")
	if err != nil {
		t.Fatal(err)
	}
	w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	if fault := w.e.Snapshot().Listeners[0].Fault; !strings.Contains(fault, "in use") || !strings.Contains(log.String(), "listener not served") {
		t.Fatalf("fault %q, log %s", fault, log.String())
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the listener is served", func() bool { return w.e.Snapshot().Listeners[0].Fault == "" })
}

func TestUnforwardedProtocolIsReportedInTheSnapshot(t *testing.T) {
	w := newWorld(t, elbemu.Config{DataPlane: true})
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTls, 1)
	in := listenerInput(lb, group, types.ProtocolEnumTls, 443)
	in.Certificates = []types.Certificate{{CertificateArn: new("arn:aws:acm:us-east-1:000000000000:certificate/c")}}
	if _, err := w.CreateListener(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if fault := w.e.Snapshot().Listeners[0].Fault; !strings.Contains(fault, "TLS") {
		t.Fatalf("fault %q", fault)
	}
}
