variable "access_levels" {
  description = "Access levels of the access policy that people must come under to pass the perimeter: the networks or devices of your company, say. None: from anywhere, by who they are alone."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.access_levels : can(regex("^accessPolicies/[0-9]+/accessLevels/[A-Za-z][A-Za-z0-9_]{0,49}$", one))])
    error_message = "access_levels holds full names, accessPolicies/NUMBER/accessLevels/NAME; never \"*\"."
  }
}

variable "access_policy" {
  description = "Number of the organisation's access policy. Given: a VPC Service Controls perimeter is drawn around this project. Null: it is sealed by route only, and the output `sealed_by` says so."
  type        = string
  default     = null

  validation {
    condition     = var.access_policy == null || can(regex("^[0-9]+$", var.access_policy))
    error_message = "access_policy is the number of an access policy, as `gcloud access-context-manager policies list` prints it."
  }
}

variable "alert_emails" {
  description = "Who is told when the inner stage or a VM needs a person."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", one))])
    error_message = "alert_emails holds e-mail addresses."
  }
}

variable "apt_repositories" {
  description = "Code names of the supported releases of Debian and Ubuntu: an apt repository each."
  type        = set(string)
  default     = ["bookworm", "jammy", "noble", "trixie"]

  validation {
    condition     = length(var.apt_repositories) > 0 && alltrue([for name in var.apt_repositories : can(regex("^[a-z]{2,20}$", name))])
    error_message = "apt_repositories are code names like bookworm, at least one."
  }
}

variable "data_owners" {
  description = "Who may encrypt data for the services: members like `group:data@example.com`. Nobody of them may decrypt."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.data_owners : can(regex("^(user|group|serviceAccount):[^@]+@[^@]+$", each))])
    error_message = "data_owners are user:…, group:… or serviceAccount:…."
  }
}

variable "data_services" {
  description = <<-EOT
    Services that run in Confidential Space, by name. `export` is the path of what `./dmz attestation export` printed for
    the service; `image_digest` is a manifest's, and needed only where the export admits several images.
  EOT
  type = map(object({
    export            = string
    image_digest      = optional(string)
    confidential_type = optional(string, "TDX")
    environment       = optional(map(string), {})
    machine_type      = optional(string, "c3-standard-4")
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.data_services) : can(regex("^[a-z]([a-z0-9_]{0,17}[a-z0-9])?$", name))])
    error_message = "A data service is named like its image spec: lower-case letters, digits and _, at most 19."
  }
  validation {
    condition     = alltrue([for each in var.data_services : each.image_digest == null || can(regex("^sha256:[0-9a-f]{64}$", each.image_digest))])
    error_message = "image_digest is sha256: and 64 hexadecimal digits; a tag can move."
  }
}

variable "decrypt_pool" {
  description = "Id of the Workload Identity pool that attested services come through; `./dmz attestation export --pool` takes the same."
  type        = string
  default     = "dmz-attested"

  validation {
    condition     = can(regex("^[a-z0-9-]{4,32}$", var.decrypt_pool)) && !startswith(var.decrypt_pool, "gcp-")
    error_message = "decrypt_pool has 4 to 32 of a-z, 0-9 and -, and does not begin with gcp-."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to destroy repositories, data services' keys and the inner function. A data service's machine keeps nothing and is replaced with its image: it can always go."
  type        = bool
  default     = true
}

variable "deployer" {
  description = "Who runs Terraform here, as a member: attaches subscriptions to the outer project's topics, and is let in by the perimeter."
  type        = string

  validation {
    condition     = can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", var.deployer))
    error_message = "deployer is user:…, group:… or serviceAccount:…."
  }
}

variable "eviction" {
  description = "Whether sync may delete versions from the private repositories: what is refused later on is evicted."
  type        = bool
  default     = true
}

variable "generic_repository" {
  description = "Repository of files by URL and of locks; DMZ_GENERIC_REPOSITORY of the services."
  type        = string
  default     = "dmz-generic"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.generic_repository))
    error_message = "generic_repository has 1 to 63 lower-case letters, digits and -, beginning with a letter."
  }
}

variable "image_pushers" {
  description = "Who promotes agreed images of data services into this project: IAM members. Nobody else writes there."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.image_pushers : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", each))])
    error_message = "image_pushers holds group:…, user:… or serviceAccount:… members."
  }
}

variable "image_repository" {
  description = "Repository of data services' images; DMZ_IMAGE_REPOSITORY of the services."
  type        = string
  default     = "dmz-images"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.image_repository))
    error_message = "image_repository has 1 to 63 lower-case letters, digits and -, beginning with a letter."
  }
}

variable "inner_vm_hours" {
  description = "An inner VM that is up for longer raises an alert, a kept one too: somebody should say whether it is still needed."
  type        = number
  default     = 12

  validation {
    condition     = var.inner_vm_hours >= 1 && var.inner_vm_hours <= 23
    error_message = "inner_vm_hours must be from 1 to 23: Cloud Monitoring looks back over less than a day."
  }
}

variable "more_names" {
  description = "Further names of Google's interfaces that something in the sealed network needs, with a dot at the end. The log of the DNS policy says what was asked for."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.more_names : can(regex("^[a-z0-9-]+\\.(googleapis\\.com|pkg\\.dev)\\.$", name))])
    error_message = "more_names holds single names below googleapis.com. or pkg.dev., storage.googleapis.com. say; no wildcard, and nobody else's."
  }
}

variable "multi_host" {
  description = "Whether VMs of one slice may talk to each other: opens the subnetwork's own range, and nothing beyond it."
  type        = bool
  default     = false
}

variable "network" {
  description = "Name of the sealed network and its one subnetwork; DMZ_INNER_NETWORK of the services."
  type        = string
  default     = "dmz-inner"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.network))
    error_message = "network has 1 to 63 lower-case letters, digits and -, beginning with a letter."
  }
}

variable "operators" {
  description = "Who looks after kept inner VMs: lists them, enters them through an IAP tunnel, deletes them. Members like `group:tpu@example.com`."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.operators : can(regex("^(user|group):[^@]+@[^@]+$", each))])
    error_message = "operators are people: user:… or group:…."
  }
}

variable "outer" {
  description = "The output `contract` of terraform/outer: all that this project learns of the other one."
  type = object({
    dead_letter_topic = string
    image             = optional(string)
    location          = string
    project           = string
    settings          = optional(map(string), {})
    sync              = string
    topics            = map(string)
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.outer.project)) && can(regex("^[a-z]+-[a-z]+[0-9]+$", var.outer.location))
    error_message = "outer.project is a project's id and outer.location a region."
  }
  validation {
    condition     = can(regex("^serviceAccount:sync-stage@[a-z0-9-]+\\.iam\\.gserviceaccount\\.com$", var.outer.sync))
    error_message = "outer.sync is the service account of the sync stage: it is the one that may write packages in here."
  }
  validation {
    condition     = alltrue([for field in keys(var.outer.settings) : can(regex("^[a-z_]+_seconds$", field))])
    error_message = "outer.settings holds the settings that both stages share: seconds."
  }
  validation {
    condition     = alltrue([for topic, name in var.outer.topics : name == "projects/${var.outer.project}/topics/${topic}"])
    error_message = "outer.topics holds topics of the outer project by their names."
  }
  validation {
    condition     = var.outer.image == null || can(regex("^[a-z0-9.-]+/[a-z0-9./_-]+@sha256:[0-9a-f]{64}$", var.outer.image))
    error_message = "outer.image must be named by its digest, NAME@sha256:…: a tag can be moved to an image that nobody judged."
  }
}

variable "project" {
  description = "Id of the inner project. Another one than the outer: what is granted project-wide there must not reach here."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is a project id: 6 to 30 lower-case letters, digits and -."
  }
  validation {
    condition     = var.project != var.outer.project
    error_message = "The inner project must not be the outer one."
  }
}

variable "python_repository" {
  description = "Python repository; DMZ_PYTHON_REPOSITORY of the services."
  type        = string
  default     = "dmz-python"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.python_repository))
    error_message = "python_repository has 1 to 63 lower-case letters, digits and -, beginning with a letter."
  }
}

variable "subnetwork_range" {
  description = "Addresses of the subnetwork."
  type        = string
  default     = "10.10.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.subnetwork_range)) && can(regex("^(10|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.", var.subnetwork_range))
    error_message = "subnetwork_range is an IPv4 range of RFC 1918 in CIDR form, like 10.10.0.0/24."
  }
}

variable "zone" {
  description = "Zone of the VMs; DMZ_ZONE of the services."
  type        = string
  default     = "us-central1-a"

  validation {
    condition     = startswith(var.zone, "${var.outer.location}-")
    error_message = "zone must be a zone of the outer project's location: one region for both."
  }
}
