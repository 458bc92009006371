package elb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/shared/api"
)

// Keys of the tags that every resource created by portlease has.
const (
	TagLedger     = "portlease.dev/ledger"
	TagNamespace  = "portlease.dev/namespace"
	TagPod        = "portlease.dev/pod"
	TagPodUID     = "portlease.dev/pod-uid"
	TagLease      = "portlease.dev/lease" // "<port lease name>/<epoch>"
	TagGeneration = "portlease.dev/generation"
)

// Tags tell to which holding a target group or listener belongs. The create call sets
// them, so an own resource never exists without them.
type Tags struct {
	Ledger     string
	Namespace  string
	Pod        string
	PodUID     string
	Lease      string
	Epoch      string
	Generation int
}

// TagsOf returns the tags of one port of a claim.
func TagsOf(c api.Claim, f api.Fence) Tags {
	return Tags{
		Ledger: c.Ledger, Namespace: c.Namespace, Pod: c.Pod, PodUID: c.PodUID,
		Lease: f.Lease, Epoch: f.Epoch, Generation: f.Generation,
	}
}

// Fence returns the holding that the tags name.
func (t Tags) Fence() api.Fence {
	return api.Fence{Lease: t.Lease, Epoch: t.Epoch, Generation: t.Generation}
}

// ReadTags parses the tags of a resource. It returns false unless all six tags are there
// and well-formed; it ignores other tags.
func ReadTags(m map[string]string) (Tags, bool) {
	lease, epoch, cut := strings.Cut(m[TagLease], "/")
	generation, err := strconv.Atoi(m[TagGeneration])
	t := Tags{
		Ledger: m[TagLedger], Namespace: m[TagNamespace], Pod: m[TagPod], PodUID: m[TagPodUID],
		Lease: lease, Epoch: epoch, Generation: generation,
	}
	switch {
	case err != nil, generation < 0, strconv.Itoa(generation) != m[TagGeneration]:
		return Tags{}, false
	case !cut, lease == "", epoch == "", strings.Contains(epoch, "/"):
		return Tags{}, false
	case t.Ledger == "", t.Namespace == "", t.Pod == "", t.PodUID == "":
		return Tags{}, false
	}
	return t, true
}

// Map returns the tags by key, as ReadTags parses them.
func (t Tags) Map() map[string]string {
	return map[string]string{
		TagLedger:     t.Ledger,
		TagNamespace:  t.Namespace,
		TagPod:        t.Pod,
		TagPodUID:     t.PodUID,
		TagLease:      t.Lease + "/" + t.Epoch,
		TagGeneration: strconv.Itoa(t.Generation),
	}
}

// list returns the tags in a fixed order. A repeated create call must be the same, byte
// for byte.
func (t Tags) list() []types.Tag {
	m := t.Map()
	var list []types.Tag
	for _, key := range []string{TagLedger, TagNamespace, TagPod, TagPodUID, TagLease, TagGeneration} {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(m[key])})
	}
	return list
}

// Tags returns the tags of load balancers, listeners and target groups, by ARN and key. It
// makes one call for every 20 ARNs. An ARN that is gone is left out; one without tags has
// an empty map.
func (c *Client) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	arns = slices.Compact(slices.Sorted(slices.Values(arns)))
	describe := func(some []string) ([]types.TagDescription, error) {
		out, err := call(ctx, c, fmt.Sprintf("reading the tags of %d resources", len(some)), "DescribeTags",
			&v2.DescribeTagsInput{ResourceArns: some}, c.api.DescribeTags)
		if err != nil {
			return nil, err
		}
		return out.TagDescriptions, nil
	}
	found, err := batches(arns, describe, isGone)
	if err != nil {
		return nil, err
	}
	tags := make(map[string]map[string]string, len(found))
	for _, d := range found {
		m := make(map[string]string, len(d.Tags))
		for _, tag := range d.Tags {
			m[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		tags[aws.ToString(d.ResourceArn)] = m
	}
	return tags, nil
}
