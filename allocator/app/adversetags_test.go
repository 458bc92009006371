package app_test

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

// TestWhatDoesNotCarryOurTagsIsNotTouched has bindings that are named as ours and would
// go at once by what the ledger says of their port, if only their tags were ours.
func TestWhatDoesNotCarryOurTagsIsNotTouched(t *testing.T) {
	w := newAuditWorld(t, 1)
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
	put("of a malformed generation", set(elb.TagGeneration, "01"))
	put("of no generation", set(elb.TagGeneration, ""))
	put("of a lease without an epoch", set(elb.TagLease, w.fenceOf(0, port, 1).Lease))
	for key := range tagsOf("game", w.fenceOf(0, port, 1)).Map() {
		put("without "+key, func(tags map[string]string) { delete(tags, key) })
	}
	ours := port
	put("ours", func(map[string]string) {})
	if err := w.rounds(untilAll); err != nil {
		t.Error(err)
	}
	w.isGone(whole("ours")...)
	w.is(0, ours, ledger.Free)
}

// namedAsOurs makes a binding with a name as an agent gives it, and any tags.
func (w *auditWorld) namedAsOurs(name string, port int, tags ...types.Tag) {
	w.Helper()
	group, err := w.person.CreateTargetGroup(w.Context(), &elbv2.CreateTargetGroupInput{
		Name: aws.String(fmt.Sprintf("%s%d", elb.TargetGroupPrefix, port)), Protocol: types.ProtocolEnumUdp, Port: aws.Int32(7777), VpcId: aws.String("vpc-local"),
		TargetType: types.TargetTypeEnumIp, HealthCheckProtocol: types.ProtocolEnumTcp, HealthCheckPort: aws.String("9901"), Tags: tags,
	})
	w.must(err)
	w.made[name+"/group"] = *group.TargetGroups[0].TargetGroupArn
	listener, err := w.person.CreateListener(w.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.balancers[0], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumUdp, Tags: tags,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	})
	w.must(err)
	w.made[name+"/listener"] = *listener.Listeners[0].ListenerArn
}

// TestARecordedTargetGroupOfAnotherIsNotTouched, whoever recorded it: the port stays
// until a person has looked, and the error tells that person what to look at.
func TestARecordedTargetGroupOfAnotherIsNotTouched(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"untagged":             func(tags map[string]string) { clear(tags) },
		"another ledger's":     func(tags map[string]string) { tags[elb.TagLedger] = "kube-system-uid/another" },
		"of another port":      func(tags map[string]string) { tags[elb.TagLease] = "other-30000/e" },
		"of another epoch":     func(tags map[string]string) { tags[elb.TagLease] += "x" },
		"of a generation more": func(tags map[string]string) { tags[elb.TagGeneration] = "2" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newAuditWorld(t, 1)
			tags := tagsOf("releasing", w.fenceOf(0, releasingPort, 1)).Map()
			change(tags)
			var list []types.Tag
			for key, value := range maps.All(tags) {
				list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
			}
			w.namedAsOurs("other", releasingPort, list...)
			w.record("releasing", 0, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: w.made["other/group"], ListenerARN: w.made["other/listener"]})
			if err := w.rounds(untilAll); err == nil || !strings.Contains(err.Error(), w.made["other/group"]+" does not carry the tags of this holding") {
				t.Errorf("it complains of %v", err)
			}
			w.isGone()
			w.is(0, releasingPort, ledger.Releasing)
		})
	}
}

// TestAListenerOfAnotherOnOurTargetGroup stays, and with it the target group and the
// port, until its owner takes it away.
func TestAListenerOfAnotherOnOurTargetGroup(t *testing.T) {
	w := newAuditWorld(t, 1)
	group, listener := w.bind("releasing", "releasing", 0, releasingPort, 1)
	w.record("releasing", 0, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener})
	other, err := w.person.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.balancers[0], Port: aws.Int32(strangerPort), Protocol: types.ProtocolEnumUdp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}},
	})
	w.must(err)
	w.made["other/listener"] = *other.Listeners[0].ListenerArn
	w.must(w.rounds(untilAll))
	w.isGone("releasing/listener")
	w.is(0, releasingPort, ledger.Releasing)
	_, err = w.person.DeleteListener(t.Context(), &elbv2.DeleteListenerInput{ListenerArn: other.Listeners[0].ListenerArn})
	w.must(err)
	w.must(w.rounds(untilAll))
	w.isGone("releasing/listener", "releasing/group", "other/listener")
	w.is(0, releasingPort, ledger.Free)
}

// TestTagsThatShowLate: what has no tags yet is nobody's for now, and is not forgotten.
func TestTagsThatShowLate(t *testing.T) {
	w := newAuditWorld(t, 1)
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
		t.Errorf("it complains of %v", err)
	}
	w.isGone()
	w.is(0, releasingPort, ledger.Releasing)
	w.door = nil
	w.recovers()
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

// TestTagsOfWhatIsSaidNotToExist: AWS says of everything that it is not there, and goes
// on listing it. Nobody's tags are known, so what only tags could tell stays; the
// recorded target group of a port is deleted all the same, because only that proves
// that it is gone.
func TestTagsOfWhatIsSaidNotToExist(t *testing.T) {
	w := newAuditWorld(t, 1)
	w.cast(0)
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeTags" {
			return elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found")
		}
		return elbemu.Fault{}
	})
	w.must(w.rounds(untilAll))
	w.isGone(on(0, []string{"bare/group", "restored/group"})...)
	w.ended(0, map[int]ledger.PortState{releasingPort: ledger.Releasing, crashedPort: ledger.Releasing})
	w.emulator.SetFault(nil)
	w.recovers()
}

// TestAStrangersListenerThatMoves to another port opens the one and closes the other.
func TestAStrangersListenerThatMoves(t *testing.T) {
	w := newAuditWorld(t, 1)
	w.stranger("stranger", 0, strangerPort)
	w.must(w.rounds(untilAll))
	w.is(0, strangerPort, ledger.Blocked)
	_, err := w.person.ModifyListener(t.Context(), &elbv2.ModifyListenerInput{ListenerArn: aws.String(w.made["stranger/listener"]), Port: aws.Int32(strangerPort + 1)})
	w.must(err)
	w.must(w.rounds(untilAll))
	w.is(0, strangerPort, ledger.Free)
	w.is(0, strangerPort+1, ledger.Blocked)
}
