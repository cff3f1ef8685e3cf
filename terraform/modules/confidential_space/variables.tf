variable "account" {
  description = "E-mail of the account that the service runs as; its appraisal policy names it, and the outer project lets it read its nonces and hand in tokens."
  type        = string
}

variable "boot_image" {
  description = "The machine's own image: Confidential Space for production, a family or one of its releases. The debug family lets an operator in, and its tokens are refused."
  type        = string
  default     = "projects/confidential-space-images/global/images/family/confidential-space"

  validation {
    condition     = can(regex("^projects/confidential-space-images/global/images/(family/confidential-space|confidential-space-[0-9]{6})$", var.boot_image))
    error_message = "boot_image is Google's confidential-space family or a release of it, never the debug one."
  }
}

variable "confidential_type" {
  description = "The processor's protection, one that an appraisal accepts (hwmodel): TDX or SEV."
  type        = string
  default     = "TDX"

  validation {
    condition     = contains(["SEV", "TDX"], var.confidential_type)
    error_message = "confidential_type is TDX or SEV."
  }
}

variable "environment" {
  description = "Variables that the image's launch policy lets an operator set, beside the three that attesting needs."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && !contains(["DMZ_SERVICE", "DMZ_PROJECT", "DMZ_SUBSCRIPTION"], name)])
    error_message = "environment holds names like SHARD_COUNT; DMZ_SERVICE, DMZ_PROJECT and DMZ_SUBSCRIPTION are set already."
  }
}

variable "events_project" {
  description = "Project of the subscription SERVICE--nonce-issued and of the topic attestation-requested."
  type        = string
}

variable "image_digest" {
  description = "Digest of the service's image, sha256:…: the manifest that the reference value names."
  type        = string

  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "image_digest is sha256: and 64 hexadecimal digits; a tag can move."
  }
}

variable "image_repository" {
  description = "Id of the Docker repository, in `project`, that holds the image under the service's name."
  type        = string
}

variable "labels" {
  description = "Labels of the VM."
  type        = map(string)
  default     = {}
}

variable "location" {
  description = "Region of the Docker repository."
  type        = string
}

variable "log_redirect" {
  description = "Where the container's output goes, as far as the image's launch policy allows it."
  type        = string
  default     = "true"

  validation {
    condition     = contains(["true", "cloud_logging", "serial", "false"], var.log_redirect)
    error_message = "log_redirect is true, cloud_logging, serial or false."
  }
}

variable "machine_type" {
  description = "Machine type with that protection: c3-standard-… for TDX, n2d-standard-… for SEV."
  type        = string
  default     = "c3-standard-4"

  validation {
    condition     = can(regex({ TDX = "^c3-standard-[0-9]+$", SEV = "^(n2d|c2d|c3d)-[a-z]+-[0-9]+$" }[var.confidential_type], var.machine_type))
    error_message = "machine_type does not have the protection confidential_type: TDX is in c3-standard, SEV in n2d, c2d and c3d."
  }
}

variable "project" {
  description = "Project of the VM and of the Docker repository."
  type        = string
}

variable "service" {
  description = "Name of the service, as the workload and the appraisal policy know it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,17}[a-z0-9])?$", var.service))
    error_message = "service is named like its image spec: lower-case letters, digits and _, at most 19."
  }
}

variable "subnetwork" {
  description = "Subnetwork without a way out, projects/PROJECT/regions/REGION/subnetworks/NAME."
  type        = string
}

variable "zone" {
  description = "Zone of the VM."
  type        = string
}
