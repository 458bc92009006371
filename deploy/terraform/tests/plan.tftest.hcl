# Plans against a mocked provider with the answers below. No AWS account is needed.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1", name = "eu-central-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
}

variables {
  name                   = "games"
  ledger                 = "5211ad57-62a7-45dc-a92d-fbf5a438629d/portlease"
  vpc_id                 = "vpc-0123456789abcdef0"
  subnet_ids             = ["subnet-a", "subnet-b"]
  cluster                = "one"
  load_balancers         = 2
  target_ports           = [{ from = 7777, to = 7777 }, { from = 8080, to = 8090 }]
  pod_security_group_ids = { nodes = "sg-nodes" }
}

run "pod_identity" {
  assert {
    condition     = alltrue([for lb in aws_lb.this : lb.enable_cross_zone_load_balancing && lb.load_balancer_type == "network"]) && length(aws_lb.this) == 2
    error_message = "There must be two network load balancers with cross-zone load balancing on."
  }
  assert {
    condition     = alltrue([for lb in aws_lb.this : lb.tags["portlease.dev/ledger"] == var.ledger && lb.tags["portlease.dev/pool"] == "default"])
    error_message = "The load balancers must have the tags that the pool file and the policies use."
  }
  assert {
    condition     = yamldecode(output.pools).pools[0].loadBalancerTags == { for k, v in aws_lb.this["games-1"].tags : k => v }
    error_message = "The pool file must select by those tags."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.players) == 2
    error_message = "Players must be admitted over both protocols."
  }
  assert {
    condition     = toset(keys(aws_vpc_security_group_egress_rule.pods)) == toset(["tcp 7777-7777 pods", "udp 7777-7777 pods", "tcp 8080-8090 pods", "udp 8080-8090 pods", "health pods", "tcp 7777-7777 nodes", "udp 7777-7777 nodes", "tcp 8080-8090 nodes", "udp 8080-8090 nodes", "health nodes"])
    error_message = "The load balancers must reach the target ports and the health port of the pods' groups, and nothing else."
  }
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.pods) == keys(aws_vpc_security_group_egress_rule.pods) && alltrue([for r in aws_vpc_security_group_egress_rule.pods : r.cidr_ipv4 == null && r.cidr_ipv6 == null])
    error_message = "The pods' groups must admit exactly what the load balancers send, and no rule may be for addresses."
  }
  assert {
    condition     = length(aws_iam_role_policy.source_vpc) == 0
    error_message = "Roles must be restricted to a VPC only if one is given."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.pods["health nodes"].from_port == 9901
    error_message = "Health checks must reach the pods."
  }
  assert {
    condition     = length(aws_eks_pod_identity_association.this) == 2 && aws_eks_pod_identity_association.this["agent-games"].namespace == "games"
    error_message = "Allocator and game servers must have one role each."
  }
  assert {
    condition     = alltrue([for p in aws_iam_role_policy.this : length(regexall("<[a-z-]+>", p.policy)) == 0]) && alltrue([for r in aws_iam_role.this : length(regexall("<[a-z-]+>", r.assume_role_policy)) == 0])
    error_message = "Every placeholder must be replaced."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.this["agent-games"].policy, "$${aws:PrincipalTag/kubernetes-pod-uid}") && strcontains(aws_iam_role_policy.this["agent-games"].policy, "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/pl-*/*")
    error_message = "The agent's policy must compare the pod's UID."
  }
  assert {
    condition     = jsondecode(aws_iam_role.this["allocator"].assume_role_policy).Statement[0].Condition.StringEquals["aws:RequestTag/kubernetes-namespace"] == "portlease"
    error_message = "The allocator's role must be for its namespace."
  }
}

run "irsa" {
  variables {
    identity      = "irsa"
    cluster       = ""
    oidc_provider = "oidc.eks.eu-central-1.amazonaws.com/id/0123"
  }
  assert {
    condition     = length(aws_eks_pod_identity_association.this) == 0 && strcontains(aws_iam_role_policy.this["agent-games"].policy, "\"aws:ResourceTag/portlease.dev/namespace\": \"games\"")
    error_message = "With IRSA, agents must be confined to their namespace."
  }
  assert {
    condition     = jsondecode(aws_iam_role.this["agent-games"].assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.eu-central-1.amazonaws.com/id/0123:sub"] == "system:serviceaccount:games:game"
    error_message = "The role must be for one service account."
  }
}

run "addresses" {
  variables {
    elastic_ips            = true
    identity               = "none"
    protocols              = ["udp"]
    pod_security_group_ids = {}
    listener_ports         = [{ from = 30000, to = 30009 }, { from = 31000, to = 31000 }]
  }
  assert {
    condition     = length(aws_eip.this) == 4 && length(output.load_balancers["games-2"].addresses) == 2
    error_message = "There must be an address for each load balancer and subnet."
  }
  assert {
    condition     = length(aws_iam_role.this) == 0 && length(output.role_arns) == 0
    error_message = "There must be no roles."
  }
  assert {
    condition     = yamldecode(output.pools).pools[0].listenerPorts == ["30000-30009", "31000"] && yamldecode(output.pools).pools[0].protocols == ["UDP"]
    error_message = "The pool file must list the ports and the protocol."
  }
  assert {
    condition     = toset(keys(aws_vpc_security_group_egress_rule.pods)) == toset(["udp 7777-7777 pods", "udp 8080-8090 pods", "health pods"]) && aws_vpc_security_group_egress_rule.pods["health pods"].ip_protocol == "tcp"
    error_message = "Without groups of nodes, only the pool's own group must be reached. Health checks must use TCP for games over UDP, too."
  }
}

run "source_vpc" {
  variables {
    source_vpc_id = "vpc-0123456789abcdef0"
  }
  assert {
    condition     = length(aws_iam_role_policy.source_vpc) == 2 && alltrue([for p in aws_iam_role_policy.source_vpc : jsondecode(p.policy).Statement[0].Effect == "Deny" && jsondecode(p.policy).Statement[0].Condition.StringNotEquals["aws:SourceVpc"] == "vpc-0123456789abcdef0"])
    error_message = "Every role must be denied calls from elsewhere."
  }
}

run "cluster_is_needed" {
  command = plan
  variables {
    cluster = ""
  }
  expect_failures = [aws_iam_role.this]
}

run "ledger_is_checked" {
  command = plan
  variables {
    ledger = "portlease"
  }
  expect_failures = [var.ledger]
}

run "internal_has_no_elastic_ips" {
  command = plan
  variables {
    internal    = true
    elastic_ips = true
  }
  expect_failures = [var.elastic_ips]
}

run "target_ports_are_checked" {
  command = plan
  variables {
    target_ports = []
  }
  expect_failures = [var.target_ports]
}
