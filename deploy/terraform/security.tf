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

  to_pods = {
    for pair in setproduct(keys(local.in_pods), keys(var.pod_security_group_ids)) :
    "${pair[0]} ${pair[1]}" => merge(local.in_pods[pair[0]], { group = var.pod_security_group_ids[pair[1]] })
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

data "aws_vpc" "this" {
  id = var.vpc_id
}

# Pods are often in a second CIDR of the VPC.
locals {
  to_vpc = length(var.pod_security_group_ids) > 0 ? {} : {
    for pair in setproduct(keys(local.in_pods), [for a in data.aws_vpc.this.cidr_block_associations : a.cidr_block]) :
    "${pair[0]} ${pair[1]}" => merge(local.in_pods[pair[0]], { cidr = pair[1] })
  }
}

resource "aws_vpc_security_group_egress_rule" "vpc" {
  for_each = local.to_vpc

  security_group_id = aws_security_group.this.id
  description       = "pods"
  ip_protocol       = each.value.protocol
  from_port         = each.value.from
  to_port           = each.value.to
  cidr_ipv4         = each.value.cidr
  tags              = var.tags
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
