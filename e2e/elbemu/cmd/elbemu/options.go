package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"

	"github.com/portlease/portlease/e2e/elbemu"
)

type options struct {
	listen     string
	cfg        elbemu.Config
	principals []restriction
}

const usage = `elbemu emulates the Elastic Load Balancing v2 API for Network Load Balancers.

It keeps everything in memory, verifies no signatures, and refuses what AWS
refuses. Point any client at it with --endpoint-url or with
AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2.

Flags:
`

// parse parses the command line. Errors are one line with flag, value and remedy. For
// help, it prints to out and returns flag.ErrHelp.
func parse(args []string, out io.Writer) (options, error) {
	o := options{cfg: elbemu.Config{Profile: elbemu.ProfileInstant, Region: "us-east-1", Account: "000000000000"}}
	flags := flag.NewFlagSet("elbemu", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:4566", "address to answer the API on, `host:port`")
	flags.StringVar(&o.cfg.Region, "region", o.cfg.Region, "`Region` in ARNs and names")
	flags.Func("account", "`twelve digits` of the account in ARNs (default 000000000000)", o.setAccount)
	flags.Func("vpc", "`id=CIDR` of a VPC; repeatable (default vpc-local=127.30.0.0/16)", o.addVPC)
	flags.Func("subnet", "`id=CIDR@zone` of a subnet; repeatable (default two halves of vpc-local)", o.addSubnet)
	flags.Func("profile", "`instant`: no throttling, no delays; aws: the published token buckets and delays, those of the data plane too (default instant)", o.setProfile)
	flags.BoolVar(&o.cfg.DataPlane, "data-plane", true, "forward TCP and UDP on loopback addresses in 127.20.0.0/16 and check health for real")
	flags.Func("principal", "`access key=file` of JSON with arn, tags and policy: what calls with that key may do; repeatable, and by PUT to "+principalsPath+"{access key} later (default: every key may do everything)", o.addPrincipal)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w; see elbemu --help", err)
	case flags.NArg() > 0:
		return o, fmt.Errorf("argument %q is not understood; give flags only, see elbemu --help", flags.Arg(0))
	}
	return o, nil
}

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

func (o *options) setAccount(value string) error {
	if !accountPattern.MatchString(value) {
		return errors.New("give twelve digits")
	}
	o.cfg.Account = value
	return nil
}

func (o *options) addVPC(value string) error {
	id, cidr, found := strings.Cut(value, "=")
	prefix, err := netip.ParsePrefix(cidr)
	if !found || id == "" || err != nil {
		return errors.New("write it as id=CIDR, for example vpc-1=10.0.0.0/16")
	}
	o.cfg.VPCs = append(o.cfg.VPCs, elbemu.VPC{ID: id, CIDR: prefix})
	return nil
}

func (o *options) addSubnet(value string) error {
	id, rest, found := strings.Cut(value, "=")
	cidr, zone, zoned := strings.Cut(rest, "@")
	prefix, err := netip.ParsePrefix(cidr)
	if !found || !zoned || id == "" || zone == "" || err != nil {
		return errors.New("write it as id=CIDR@zone, for example subnet-1=10.0.0.0/24@us-east-1a")
	}
	o.cfg.Subnets = append(o.cfg.Subnets, elbemu.Subnet{ID: id, CIDR: prefix, Zone: zone})
	return nil
}

func (o *options) setProfile(value string) error {
	switch profile := elbemu.Profile(value); profile {
	case elbemu.ProfileInstant, elbemu.ProfileAWS:
		o.cfg.Profile = profile
		return nil
	}
	return fmt.Errorf("choose %s or %s", elbemu.ProfileInstant, elbemu.ProfileAWS)
}

// printUsage prints how to use the emulator.
func printUsage(out io.Writer, endpoint string, o options) {
	vpcs, subnets := o.cfg.Network()
	fmt.Fprintf(out, "elbemu answers at %s\n\n", endpoint)
	for _, v := range vpcs {
		fmt.Fprintf(out, "  VPC     %-16s %s\n", v.ID, v.CIDR)
	}
	for _, s := range subnets {
		fmt.Fprintf(out, "  subnet  %-16s %-20s %s\n", s.ID, s.CIDR, s.Zone)
	}
	subnet := "SUBNET"
	if len(subnets) > 0 {
		subnet = subnets[0].ID
	}
	restricted := ""
	if n := len(o.principals); n > 0 {
		restricted = fmt.Sprintf(", %d of them with a policy", n)
	}
	fmt.Fprintf(out, `
Use it with any AWS SDK or command line, and any credentials%s:

  export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=%s
  export AWS_REGION=%s AWS_DEFAULT_REGION=%[3]s AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any
  aws elbv2 create-load-balancer --type network --name my-nlb --subnets %s

`, restricted, endpoint, o.cfg.Region, subnet)
}
