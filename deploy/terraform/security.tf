# Players reach the load balancers, and these reach the members of some security groups
# and nothing else. IAM cannot restrict which address an agent registers as a target, so
# this is what keeps a forged target unreachable.

# A load balancer that was created without security groups can never get one.
resource "aws_security_group" "this" {
  name_prefix = "${var.name}-load-balancers-"
  description = "portlease: players to listener ports, load balancers to pods"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-load-balancers" })

  lifecycle {
    create_before_destroy = true
  }
}

# The pods of this pool, or the nodes that run nothing else.
resource "aws_security_group" "pods" {
  name_prefix = "${var.name}-pods-"
  description = "portlease: pods that the load balancers of pool ${var.pool} reach"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-pods" })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  from_players = {
    for rule in setproduct(var.listener_ports, var.protocols, var.player_cidrs) :
    "${rule[1]} ${rule[0].from}-${rule[0].to} ${rule[2]}" => { from = rule[0].from, to = rule[0].to, protocol = rule[1], cidr = rule[2] }
  }

  # The load balancers reach the games and the health port, which is TCP.
  in_pods = merge({
    for rule in setproduct(var.target_ports, var.protocols) :
    "${rule[1]} ${rule[0].from}-${rule[0].to}" => { from = rule[0].from, to = rule[0].to, protocol = rule[1] }
    }, {
    health = { from = var.health_port, to = var.health_port, protocol = "tcp" }
  })

  pod_groups = merge({ pods = aws_security_group.pods.id }, var.pod_security_group_ids)

  to_pods = {
    for pair in setproduct(keys(local.in_pods), keys(local.pod_groups)) :
    "${pair[0]} ${pair[1]}" => merge(local.in_pods[pair[0]], { group = local.pod_groups[pair[1]] })
  }
}

resource "aws_vpc_security_group_ingress_rule" "players" {
  for_each = local.from_players

  security_group_id = aws_security_group.this.id
  description       = "players"
  ip_protocol       = each.value.protocol
  from_port         = each.value.from
  to_port           = each.value.to
  cidr_ipv4         = strcontains(each.value.cidr, ":") ? null : each.value.cidr
  cidr_ipv6         = strcontains(each.value.cidr, ":") ? each.value.cidr : null
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "pods" {
  for_each = local.to_pods

  security_group_id            = aws_security_group.this.id
  description                  = "pods"
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.from
  to_port                      = each.value.to
  referenced_security_group_id = each.value.group
  tags                         = var.tags
}

# For UDP, packets keep the players' addresses. A reference to the load balancers'
# security group matches them all the same.
resource "aws_vpc_security_group_ingress_rule" "pods" {
  for_each = local.to_pods

  security_group_id            = each.value.group
  description                  = "portlease load balancers"
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.from
  to_port                      = each.value.to
  referenced_security_group_id = aws_security_group.this.id
  tags                         = var.tags
}
