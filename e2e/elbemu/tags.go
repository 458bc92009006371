package elbemu

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// tagSet maps tag keys to values.
type tagSet map[string]string

type xmlTag struct{ Key, Value string }

var tagPattern = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

const (
	tagKeyLength   = 128
	tagValueLength = 256
)

// readTags parses the tags of a call. Sources: the published API model for lengths and
// characters; the user guide for the reserved prefix.
func (p fields) readTags() tagSet {
	tags := tagSet{}
	for _, m := range p.members("Tags") {
		key, value := m.required("Key"), m.optional("Value")
		switch _, twice := tags[key]; {
		case twice:
			p.f.refuse(refuse(codeDuplicateTagKeys, "Tag key '%s' was specified more than once", key))
		case utf8.RuneCountInString(key) > tagKeyLength || !tagPattern.MatchString(key):
			p.f.refuse(invalid("tag key '%.200s' must have 1 to %d characters out of letters, spaces, numbers and _.:/=+-@", key, tagKeyLength))
		case utf8.RuneCountInString(value) > tagValueLength || !tagPattern.MatchString(value):
			p.f.refuse(invalid("the value of tag '%s' must have at most %d characters out of letters, spaces, numbers and _.:/=+-@", key, tagValueLength))
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			p.f.refuse(invalid("tag key '%s' must not begin with aws:, which is reserved", key))
		}
		tags[key] = value
	}
	return tags
}

func (s *state) tooManyTags(count int) *APIError {
	if count > s.cfg.Quotas.Tags {
		return refuse(codeTooManyTags, "The maximum number of tags per resource '%d' has been reached", s.cfg.Quotas.Tags)
	}
	return nil
}

// sameTags compares tags only if Switches.TagsCompared is set.
func (s *state) sameTags(a, b tagSet) bool {
	return !s.cfg.Switches.TagsCompared || maps.Equal(a, b)
}

// tagged returns the tags of each ARN, or the NotFound error of the first missing one.
func (s *state) tagged(arns []string) ([]tagSet, *APIError) {
	sets := make([]tagSet, 0, len(arns))
	for _, arn := range arns {
		c, err := s.resource(arn)
		if err != nil {
			return nil, err
		}
		sets = append(sets, c.tags)
	}
	return sets, nil
}

func (s *state) resource(arn string) (created, *APIError) {
	switch {
	case strings.Contains(arn, ":loadbalancer/"):
		lb, err := s.findLoadBalancer(arn)
		if err != nil {
			return created{}, err
		}
		return lb.resource, nil
	case strings.Contains(arn, ":targetgroup/"):
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return created{}, err
		}
		return g.resource, nil
	case strings.Contains(arn, ":listener/"):
		l, err := s.findListener(arn)
		if err != nil {
			return created{}, err
		}
		return l.resource, nil
	}
	return created{}, invalid("'%.200s' is not a valid ARN of a load balancer, target group or listener", arn)
}

// maxARNs is the documented limit of ARNs in one call.
const maxARNs = 20

func (p fields) readResourceARNs() []string {
	arns := p.texts("ResourceArns")
	if len(arns) == 0 {
		p.f.refuse(invalid("1 validation error detected: Value null at 'resourceArns' failed to satisfy constraint: Member must not be null"))
	}
	if len(arns) > maxARNs {
		p.f.refuse(invalid("A maximum of %d resources can be specified in a single call", maxARNs))
	}
	return arns
}

func decodeAddTags(p fields) step {
	arns := p.readResourceARNs()
	tags := p.readTags()
	if len(tags) == 0 {
		p.f.refuse(invalid("1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null"))
	}
	return func(s *state) (any, *APIError) {
		sets, err := s.tagged(arns)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			union := maps.Clone(set)
			maps.Copy(union, tags)
			if err := s.tooManyTags(len(union)); err != nil {
				return nil, err
			}
		}
		for _, set := range sets {
			maps.Copy(set, tags)
		}
		return void{}, nil
	}
}

func decodeRemoveTags(p fields) step {
	arns := p.readResourceARNs()
	keys := p.texts("TagKeys")
	if len(keys) == 0 {
		p.f.refuse(invalid("1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"))
	}
	return func(s *state) (any, *APIError) {
		sets, err := s.tagged(arns)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			for _, key := range keys {
				delete(set, key)
			}
		}
		return void{}, nil
	}
}

func decodeDescribeTags(p fields) step {
	arns := p.readResourceARNs()
	type description struct {
		ResourceArn string
		Tags        members[xmlTag]
	}
	type result struct{ TagDescriptions members[description] }
	return func(s *state) (any, *APIError) {
		sets, err := s.tagged(arns)
		if err != nil {
			return nil, err
		}
		var found []description
		for i, set := range sets {
			found = append(found, description{ResourceArn: arns[i], Tags: listOf(set.xml())})
		}
		return result{listOf(found)}, nil
	}
}

func (t tagSet) xml() []xmlTag {
	list := make([]xmlTag, 0, len(t))
	for _, key := range slices.Sorted(maps.Keys(t)) {
		list = append(list, xmlTag{key, t[key]})
	}
	return list
}
