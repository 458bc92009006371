locals {
  # What the pool file finds load balancers by, and what deploy/iam wants on them.
  pool_tags = {
    "portlease.dev/ledger" = var.ledger
    "portlease.dev/pool"   = var.pool
  }

  # Numbered from 1; a smaller load_balancers takes the last away.
  balancers = toset([for n in range(var.load_balancers) : format("%s-%d", var.name, n + 1)])

  addresses = var.elastic_ips ? {
    for pair in setproduct(local.balancers, var.subnet_ids) : "${pair[0]} ${pair[1]}" => pair[0]
  } : {}
}

resource "aws_eip" "balancer" {
  for_each = local.addresses

  domain = "vpc"
  tags   = merge(var.tags, { Name = each.value })
}

resource "aws_lb" "balancer" {
  for_each = local.balancers

  name               = each.value
  load_balancer_type = "network"
  internal           = var.internal
  security_groups    = [aws_security_group.balancers.id]

  # Each pod is the only target of its target group: without cross-zone, the other
  # zones' addresses would fall out of DNS.
  enable_cross_zone_load_balancing = true

  dynamic "subnet_mapping" {
    for_each = var.subnet_ids

    content {
      subnet_id     = subnet_mapping.value
      allocation_id = var.elastic_ips ? aws_eip.balancer["${each.value} ${subnet_mapping.value}"].allocation_id : null
    }
  }

  tags = merge(var.tags, local.pool_tags)
}
