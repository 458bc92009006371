output "pools" {
  description = "The pool file. It selects the load balancers by their tags, including those that are added later."
  value = yamlencode({
    pools = [{
      name             = var.pool
      loadBalancerTags = local.pool_tags
      vpc              = var.vpc_id
      listenerPorts    = [for r in var.listener_ports : r.from == r.to ? tostring(r.from) : "${r.from}-${r.to}"]
      protocols        = concat(sort([for p in var.protocols : upper(p)]), length(var.protocols) == 2 ? ["TCP_UDP"] : [])
    }]
  })
}

output "load_balancers" {
  description = "ARN, DNS name and Elastic IPs of each load balancer."
  value = {
    for name, lb in aws_lb.this : name => {
      arn       = lb.arn
      host      = lb.dns_name
      addresses = [for key, eip in aws_eip.this : eip.public_ip if local.addresses[key] == name]
    }
  }
}

output "pod_security_group_id" {
  description = "Security group for the pods of this pool, or for nodes that run nothing else. The load balancers reach its members."
  value       = aws_security_group.pods.id
}

output "security_group_id" {
  description = "Security group of all load balancers."
  value       = aws_security_group.this.id
}

output "role_arns" {
  description = "ARNs of the roles by name: allocator, and agent-… for each entry of games. With identity irsa, annotate the service accounts with eks.amazonaws.com/role-arn."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}
