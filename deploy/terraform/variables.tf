variable "name" {
  description = "Prefix of the names of load balancers, roles and security groups."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9]([a-zA-Z0-9-]{0,22}[a-zA-Z0-9])?$", var.name)) && !strcontains(var.name, "--") && !startswith(var.name, "internal-")
    error_message = "Use 1 to 24 letters, digits and single hyphens, not starting with internal-. A load balancer's name has at most 32 characters."
  }
}

variable "ledger" {
  description = "Ledger id of the installation: the UID of namespace kube-system, a slash, and the allocator's namespace. `allocator check` prints it."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f-]{36}/[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.ledger))
    error_message = "The ledger id has the form 00000000-0000-0000-0000-000000000000/portlease."
  }
}

variable "pool" {
  description = "Name of the pool for these load balancers."
  type        = string
  default     = "default"
}

variable "load_balancers" {
  description = "Number of load balancers. Each has at most 50 listeners, and AWS does not raise that."
  type        = number
  default     = 1

  validation {
    condition     = var.load_balancers >= 1 && var.load_balancers <= 50
    error_message = "Use 1 to 50. A region has 50 network load balancers, unless AWS has raised that."
  }
}

variable "vpc_id" {
  description = "VPC of the load balancers and the pods."
  type        = string
}

variable "subnet_ids" {
  description = "One subnet for each zone: public subnets, unless internal is true."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0 && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "List at least one subnet, and each one once."
  }
}

variable "internal" {
  description = "True if all players connect from inside the VPC."
  type        = bool
  default     = false
}

variable "elastic_ips" {
  description = "True to give each load balancer an Elastic IP in each subnet. Its addresses then never change, and agents announce them with its name."
  type        = bool
  default     = false

  validation {
    condition     = !(var.elastic_ips && var.internal)
    error_message = "Internal load balancers cannot have Elastic IPs."
  }
}

variable "listener_ports" {
  description = "Listener ports that players dial, the same for every load balancer."
  type        = list(object({ from = number, to = number }))
  default     = [{ from = 30000, to = 30049 }]

  validation {
    condition     = length(var.listener_ports) > 0 && alltrue([for r in var.listener_ports : 1 <= r.from && r.from <= r.to && r.to <= 65535])
    error_message = "Use ranges with 1 <= from <= to <= 65535."
  }
}

variable "protocols" {
  description = "Protocols of the games."
  type        = set(string)
  default     = ["tcp", "udp"]

  validation {
    condition     = length(var.protocols) > 0 && length(setsubtract(var.protocols, ["tcp", "udp"])) == 0
    error_message = "Use tcp, udp or both."
  }
}

variable "player_cidrs" {
  description = "CIDRs that players connect from."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "target_ports" {
  description = "Ports that games listen on in their pods. The load balancers can reach these and health_port on every member of the pods' security groups, so name no others."
  type        = list(object({ from = number, to = number }))

  validation {
    condition     = length(var.target_ports) > 0 && alltrue([for r in var.target_ports : 1 <= r.from && r.from <= r.to && r.to <= 65535])
    error_message = "Use ranges with 1 <= from <= to <= 65535."
  }
}

variable "health_port" {
  description = "Port where agents answer health checks (PORTLEASE_HTTP_ADDRESS)."
  type        = number
  default     = 9901
}

variable "pod_security_group_ids" {
  description = "More security groups that the load balancers may reach, by a key of your choice, besides the one that the module creates (output pod_security_group_id). Each gets rules that admit the load balancers. A group of nodes exposes every pod on them, on target_ports."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.pod_security_group_ids), "pods")
    error_message = "The key pods is that of the module's own group: use another."
  }
}

variable "identity" {
  description = "How pods get their roles: pod-identity, irsa, or none to create no roles."
  type        = string
  default     = "pod-identity"

  validation {
    condition     = contains(["pod-identity", "irsa", "none"], var.identity)
    error_message = "Use pod-identity, irsa or none."
  }
}

variable "cluster" {
  description = "Name of the EKS cluster. Required for identity pod-identity."
  type        = string
  default     = ""
}

variable "oidc_provider" {
  description = "The cluster's OIDC issuer, without https://. Required for identity irsa."
  type        = string
  default     = ""
}

variable "games" {
  description = "Namespaces and service accounts of game servers, by a key of your choice."
  type        = map(object({ namespace = string, service_account = string }))
  default     = { games = { namespace = "games", service_account = "game" } }
}

variable "source_vpc_id" {
  description = "VPC that AWS accepts the roles' calls from; empty for any place. It needs an interface endpoint for elasticloadbalancing with private DNS in that VPC."
  type        = string
  default     = ""
}

variable "allocator_service_account" {
  description = "Service account of the allocator, in the namespace at the end of the ledger id."
  type        = string
  default     = "portlease-allocator"
}

variable "tags" {
  description = "Additional tags for every resource."
  type        = map(string)
  default     = {}
}
