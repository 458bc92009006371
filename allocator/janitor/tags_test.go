package janitor_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// TestOnlyBindingsWithOurLedgerIDAreDeleted has bindings with our names. Those with this
// ledger's id go, also if their other tags are malformed.
func TestOnlyBindingsWithOurLedgerIDAreDeleted(t *testing.T) {
	w := newAccount(t, 1)
	port := firstAudit
	put := func(name string, change func(map[string]string)) {
		tags := tagsOf("game", w.fenceOf(0, port, 1)).Map()
		change(tags)
		var list []types.Tag
		for key, value := range tags {
			list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
		}
		w.namedAsOurs(name, port, list...)
		w.record("", 0, port, ledger.Port{State: ledger.Free, Generation: 2})
		port++
	}
	set := func(key, value string) func(map[string]string) {
		return func(tags map[string]string) { tags[key] = value }
	}
	put("untagged", func(tags map[string]string) { clear(tags) })
	put("another ledger's", set(elb.TagLedger, "kube-system-uid/another"))
	put("another cluster's", set(elb.TagLedger, "another-uid/portlease"))
	put("without a ledger", func(tags map[string]string) { delete(tags, elb.TagLedger) })
	gone := []string{"ours", "of a malformed generation", "of no generation", "of a lease without an epoch"}
	put("of a malformed generation", set(elb.TagGeneration, "01"))
	put("of no generation", set(elb.TagGeneration, ""))
	put("of a lease without an epoch", set(elb.TagLease, w.fenceOf(0, port, 1).Lease))
	for key := range tagsOf("game", w.fenceOf(0, port, 1)).Map() {
		if key != elb.TagLedger {
			put("without "+key, func(tags map[string]string) { delete(tags, key) })
			gone = append(gone, "without "+key)
		}
	}
	ours := port
	put("ours", func(map[string]string) {})
	if err := w.rounds(untilAll); err != nil {
		t.Error(err)
	}
	w.expectGone(whole(gone...)...)
	w.is(0, ours, ledger.Free)
}

// namedAsOurs creates a binding with a name like an agent's, and any tags.
func (w *account) namedAsOurs(name string, port int, tags ...types.Tag) {
	w.Helper()
	group, err := w.foreignClient.CreateTargetGroup(w.Context(), &elbv2.CreateTargetGroupInput{
		Name: aws.String(fmt.Sprintf("%s%d", elb.TargetGroupPrefix, port)), Protocol: types.ProtocolEnumUdp, Port: aws.Int32(7777), VpcId: aws.String("vpc-local"),
		TargetType: types.TargetTypeEnumIp, HealthCheckProtocol: types.ProtocolEnumTcp, HealthCheckPort: aws.String("9901"), Tags: tags,
	})
	w.must(err)
	w.made[name+"/group"] = *group.TargetGroups[0].TargetGroupArn
	listener, err := w.foreignClient.CreateListener(w.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.loadBalancers[0], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumUdp, Tags: tags,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	})
	w.must(err)
	w.made[name+"/listener"] = *listener.Listeners[0].ListenerArn
}

// TestRecordedTargetGroupWithOtherTagsIsNotDeleted: the port keeps its state until an
// admin has acted, and the error names the target group.
func TestRecordedTargetGroupWithOtherTagsIsNotDeleted(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"untagged":             func(tags map[string]string) { clear(tags) },
		"another ledger's":     func(tags map[string]string) { tags[elb.TagLedger] = "kube-system-uid/another" },
		"of another port":      func(tags map[string]string) { tags[elb.TagLease] = "other-30000/e" },
		"of another epoch":     func(tags map[string]string) { tags[elb.TagLease] += "x" },
		"of a generation more": func(tags map[string]string) { tags[elb.TagGeneration] = "2" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newAccount(t, 1)
			tags := tagsOf("releasing", w.fenceOf(0, releasingPort, 1)).Map()
			change(tags)
			var list []types.Tag
			for key, value := range maps.All(tags) {
				list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
			}
			w.namedAsOurs("other", releasingPort, list...)
			w.record("releasing", 0, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: w.made["other/group"], ListenerARN: w.made["other/listener"]})
			if err := w.rounds(untilAll); err == nil || !strings.Contains(err.Error(), w.made["other/group"]+" does not carry the tags of this holding") {
				t.Errorf("it fails with %v", err)
			}
			w.expectGone()
			w.is(0, releasingPort, ledger.Releasing)
		})
	}
}

// TestForeignListenerOnOurTargetGroupStays until its owner deletes it, and so do the
// target group and the state of the port.
func TestForeignListenerOnOurTargetGroupStays(t *testing.T) {
	w := newAccount(t, 1)
	group, listener := w.bind("releasing", "releasing", 0, releasingPort, 1)
	w.record("releasing", 0, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener})
	other, err := w.foreignClient.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.loadBalancers[0], Port: aws.Int32(foreignPort), Protocol: types.ProtocolEnumUdp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}},
	})
	w.must(err)
	w.made["other/listener"] = *other.Listeners[0].ListenerArn
	w.must(w.rounds(untilAll))
	w.expectGone("releasing/listener")
	w.is(0, releasingPort, ledger.Releasing)
	_, err = w.foreignClient.DeleteListener(t.Context(), &elbv2.DeleteListenerInput{ListenerArn: other.Listeners[0].ListenerArn})
	w.must(err)
	w.must(w.rounds(untilAll))
	w.expectGone("releasing/listener", "releasing/group", "other/listener")
	w.is(0, releasingPort, ledger.Free)
}

// TestBindingWithoutTagsIsLeftAlone: AWS may show tags late. The binding is deleted once
// its tags appear.
func TestBindingWithoutTagsIsLeftAlone(t *testing.T) {
	w := newAccount(t, 1)
	w.cast(0)
	tags := regexp.MustCompile(`(?s)<Tags>.*?</Tags>`)
	w.door = func(r *http.Request) (*http.Response, error) {
		action, err := actionOf(r)
		if err != nil {
			return nil, err
		}
		answer, err := w.emulator.RoundTrip(r)
		if err != nil || action != "DescribeTags" {
			return answer, err
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, err
		}
		if !tags.Match(text) {
			t.Errorf("the answer has no tags to hide: %s", text)
		}
		text = tags.ReplaceAll(text, []byte("<Tags></Tags>"))
		answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		return answer, nil
	}
	if err := w.rounds(2); err == nil || !strings.Contains(err.Error(), "does not carry the tags of this holding") {
		t.Errorf("it fails with %v", err)
	}
	w.expectGone()
	w.is(0, releasingPort, ledger.Releasing)
	w.door = nil
	// Its port was recorded as having a foreign listener, so nobody can have it adopted.
	w.expectRecovery("living")
}

// actionOf reads the action of a call and leaves the call as it was.
func actionOf(r *http.Request) (string, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	form, err := url.ParseQuery(string(text))
	return form.Get("Action"), err
}

// TestBindingWhoseTagsAreNotFoundIsLeftAlone: AWS lists everything but answers that it
// does not exist when asked for tags. Orphans stay, because only tags identify them. The
// recorded target group of a port is still deleted, because only a deletion proves that
// it is gone.
func TestBindingWhoseTagsAreNotFoundIsLeftAlone(t *testing.T) {
	w := newAccount(t, 1)
	w.cast(0)
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeTags" {
			return elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found")
		}
		return elbemu.Fault{}
	})
	w.must(w.rounds(untilAll))
	w.expectGone(on(0, []string{"bare/group", "restored/group"})...)
	w.expectStates(0, map[int]ledger.PortState{releasingPort: ledger.Releasing, crashedPort: ledger.Releasing})
	w.emulator.SetFault(nil)
	w.expectRecovery()
}

// TestForeignListenerThatMovesBlocksItsNewPort and frees its old one.
func TestForeignListenerThatMovesBlocksItsNewPort(t *testing.T) {
	w := newAccount(t, 1)
	w.foreign("stranger", 0, foreignPort)
	w.must(w.rounds(untilAll))
	w.is(0, foreignPort, ledger.Blocked)
	_, err := w.foreignClient.ModifyListener(t.Context(), &elbv2.ModifyListenerInput{ListenerArn: aws.String(w.made["stranger/listener"]), Port: aws.Int32(foreignPort + 1)})
	w.must(err)
	w.must(w.rounds(untilAll))
	w.is(0, foreignPort, ledger.Free)
	w.is(0, foreignPort+1, ledger.Blocked)
}
