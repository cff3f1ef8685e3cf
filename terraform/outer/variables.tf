variable "advisories_in_bucket" {
  description = "Whether the advisories are a copy of OSV's own bucket that is refreshed every hour; otherwise OSV.dev's interface is asked for every run."
  type        = bool
  default     = false
}

variable "alert_emails" {
  description = "Who is told when something needs a person."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", one))])
    error_message = "alert_emails holds e-mail addresses."
  }
}

variable "billing_account" {
  description = "Billing account of both projects, XXXXXX-XXXXXX-XXXXXX, that the budget alert is made in; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "billing_account must look like 012345-6789AB-CDEF01."
  }
}

variable "budget_amount" {
  description = "Budget of a month in whole units of the billing account's currency. It alerts; it stops nothing."
  type        = number
  default     = 1000

  validation {
    condition     = var.budget_amount >= 1 && floor(var.budget_amount) == var.budget_amount
    error_message = "budget_amount must be a whole number above 0."
  }
}

variable "console_readers" {
  description = "Who may look at the console: IAM members of the project's organisation, best groups. Nobody by default."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.console_readers : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", one))])
    error_message = "console_readers holds group:…, user:… or serviceAccount:… members, and never everybody."
  }
}

variable "dead_letter_attempts" {
  description = "Deliveries of one message before Pub/Sub moves it to the dead-letter topic."
  type        = number
  default     = 10

  validation {
    condition     = var.dead_letter_attempts >= 10 && var.dead_letter_attempts <= 20
    error_message = "dead_letter_attempts must be from 10 to 20: a stage itself gives up after 6 and says why."
  }
}

variable "deletion_protection" {
  description = "Whether terraform refuses to delete services and the database. Set it to false, apply, then destroy."
  type        = bool
  default     = true
}

variable "image" {
  description = "The one image of all services, by digest. Null makes everything that an image needs first: identities, topics, repositories."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9.-]+/[a-z0-9./_-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by its digest, NAME@sha256:…: a tag can be moved to an image that nobody judged."
  }
}

variable "inner" {
  description = "The output `identities` of terraform/inner: who of the inner project speaks to this one. Null before that project exists."
  type = object({
    data_services = map(string)
    deployer      = string
    function      = string
    number        = optional(string) # for the budget
    project       = string
    pubsub_agent  = string
    run_agent     = string
    vm            = string
  })
  default = null

  validation {
    condition     = var.inner == null || try(alltrue([for one in [var.inner.deployer, var.inner.function, var.inner.pubsub_agent, var.inner.run_agent, var.inner.vm] : can(regex("^(serviceAccount|user|group):[^@ ]+@[^@ ]+$", one))]), false)
    error_message = "inner holds IAM members: serviceAccount:…, for the deployer also user:… or group:…"
  }

  validation {
    condition     = var.inner == null || alltrue([for service, one in try(var.inner.data_services, {}) : one == "serviceAccount:data-${replace(service, "_", "-")}@${var.inner.project}.iam.gserviceaccount.com"])
    error_message = "inner.data_services holds each service's own account in the inner project: with another's it could use up that one's nonces."
  }

  validation {
    condition     = var.inner == null || try(var.inner.project, "") != var.project
    error_message = "inner.project must be another project: the two must not share identities or networks."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels, beside application=package-dmz."
  type        = map(string)
  default     = {}
}

variable "location" {
  description = "Region of services, database, keys and repositories."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.location))
    error_message = "location must be a region, us-central1 say."
  }
}

variable "notify_version" {
  description = "Version of the secret dmz-notify that holds the address of a CloudEvents sink, \"1\" say; null: nobody is told. Add the version first: the outer stage does not start without."
  type        = string
  default     = null

  validation {
    condition     = var.notify_version == null || can(regex("^[1-9][0-9]{0,9}$", var.notify_version))
    error_message = "notify_version is the number of a version: another one takes force when you say so."
  }
}

variable "operators" {
  description = "Who may request and replay runs, revoke reference values and read dead letters: IAM members, best groups."
  type        = set(string)

  validation {
    condition     = length(var.operators) > 0 && alltrue([for one in var.operators : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", one))])
    error_message = "operators must name at least one group:…, user:… or serviceAccount:…; nobody is let in by default, and never everybody."
  }
}

variable "outer_vm_hours" {
  description = "An outer VM that is up for longer raises an alert: the watchdog should have deleted it."
  type        = number
  default     = 3

  validation {
    condition     = var.outer_vm_hours >= 1 && var.outer_vm_hours <= 23
    error_message = "outer_vm_hours must be from 1 to 23: Cloud Monitoring looks back over less than a day."
  }
}

variable "policy_editors" {
  description = "Who may change policies, builders' keys and appraisal policies (the bucket of policies): IAM members."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.policy_editors : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", one))])
    error_message = "policy_editors holds group:…, user:… or serviceAccount:… members."
  }
}

variable "project" {
  description = "Id of the outer project. It must exist, with billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project's id, not its name or number."
  }
}

variable "rebuilders" {
  description = "Independent rebuilders of images, who publish image-built: IAM members."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.rebuilders : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", one))])
    error_message = "rebuilders holds group:…, user:… or serviceAccount:… members."
  }
}

variable "relying_parties" {
  description = "Who asks data services to prove themselves, with nonces of their own or ours: IAM members."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.relying_parties : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", one))])
    error_message = "relying_parties holds group:…, user:… or serviceAccount:… members."
  }
}

variable "run_schedule" {
  description = "A workload that is run again regularly, weekly say, so that fixed packages arrive and new advisories are seen; null for none."
  type = object({
    cron      = optional(string, "0 5 * * 1")
    time_zone = optional(string, "Etc/UTC")
    workload  = string
  })
  default = null

  validation {
    condition     = var.run_schedule == null || can(regex("^([^ ]+ ){4}[^ ]+$", var.run_schedule.cron))
    error_message = "run_schedule.cron must have the five fields of cron."
  }
}

variable "settings" {
  description = "Further settings of the stages, the inner one too, by their field in shared/settings.py: {lease_seconds = \"30\"} say."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.settings), local.tunable)) == 0
    error_message = "settings may hold the fields in local.tunable (settings.tf); what Terraform makes is set by Terraform."
  }
}

variable "subnet_cidr" {
  description = "Addresses of the outer VMs."
  type        = string
  default     = "10.64.0.0/24"

  validation {
    condition     = can(cidrhost(var.subnet_cidr, 1)) && can(regex("^10\\.", var.subnet_cidr))
    error_message = "subnet_cidr must be a range below 10.0.0.0/8, 10.64.0.0/24 say."
  }
}

variable "zone" {
  description = "Zone of the outer VMs."
  type        = string
  default     = "us-central1-a"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", var.zone)) && startswith(var.zone, var.location)
    error_message = "zone must be a zone of the location, us-central1-a say."
  }
}
