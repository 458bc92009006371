package elb

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/portlease/portlease/shared/api"
)

// TargetGroupPrefix starts the name of every target group that portlease creates.
const TargetGroupPrefix = "pl-"

// maxName is the longest name of a target group
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html).
const maxName = 32

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// TargetGroupName returns the name of the target group of one holding of a port. It is a
// hash of the ledger's id and all parts of the fence. With 145 bits, no two holdings of
// any two installations share a name.
func TargetGroupName(ledger string, f api.Fence) string {
	h := sha256.New()
	for _, field := range []string{ledger, f.Lease, f.Epoch, strconv.Itoa(f.Generation)} {
		// Without the length, "a"+"bc" and "ab"+"c" would give the same hash.
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		h.Write(length[:])
		h.Write([]byte(field))
	}
	return (TargetGroupPrefix + lowerBase32.EncodeToString(h.Sum(nil)))[:maxName]
}

var networkLoadBalancer = regexp.MustCompile(`^loadbalancer/net/[A-Za-z0-9-]{1,32}/([0-9a-f]{16})$`)

// LoadBalancerID returns the last part of the ARN of a network load balancer: 16
// hexadecimal digits.
func LoadBalancerID(arn string) (string, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "elasticloadbalancing" {
		return "", fmt.Errorf("%q is not the ARN of a load balancer", arn)
	}
	match := networkLoadBalancer.FindStringSubmatch(parts[5])
	if match == nil {
		return "", fmt.Errorf("%q is not the ARN of a network load balancer: it should end in loadbalancer/net/<name>/<16 hexadecimal digits>", arn)
	}
	return match[1], nil
}
