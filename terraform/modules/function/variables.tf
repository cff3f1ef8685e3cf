variable "attempts" {
  description = "Deliveries of one message before Pub/Sub moves it to the dead-letter topic. The stage itself gives up earlier (shared/delivery.py, ATTEMPTS)."
  type        = number
  default     = 10

  validation {
    condition     = var.attempts >= 10 && var.attempts <= 20 && floor(var.attempts) == var.attempts
    error_message = "attempts must be a whole number from 10 to 20: below, a passing trouble would be final before the stage itself gives up."
  }
}

variable "buckets" {
  description = "Buckets that the stage reads as directories: path in the container to the bucket's name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for path in keys(var.buckets) : can(regex("^/[a-z]+$", path))])
    error_message = "A bucket is mounted at one directory below the root, /policies say."
  }
}

variable "dead_letter_topic" {
  description = "Topic for what could not be delivered, projects/PROJECT/topics/TOPIC."
  type        = string

  validation {
    condition     = can(regex("^projects/[a-z][a-z0-9-]+/topics/[a-z][a-z0-9-]+$", var.dead_letter_topic))
    error_message = "dead_letter_topic must be projects/PROJECT/topics/TOPIC."
  }
}

variable "deletion_protection" {
  description = "Whether terraform refuses to delete the service."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Settings of the stage, the environment variables of shared/settings.py."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^(GOOGLE_CLOUD_PROJECT|DMZ_[A-Z_]+)$", name))])
    error_message = "environment holds GOOGLE_CLOUD_PROJECT and DMZ_ variables only: those of shared/settings.py."
  }
}

variable "image" {
  description = "The one image of all services, by digest: HOST/PROJECT/REPOSITORY/NAME@sha256:…. Null makes the identities alone, before there is an image."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9.-]+/[a-z0-9./_-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by its digest, NAME@sha256:…: a tag can be moved to an image that nobody judged."
  }
}

variable "labels" {
  description = "Labels of the service and its subscriptions."
  type        = map(string)
  default     = {}
}

variable "limits" {
  description = "What one instance has, how many there may be, and how many events each handles at a time."
  type = object({
    concurrency = optional(number, 4)
    cpu         = optional(string, "1")
    instances   = optional(number, 10)
    memory      = optional(string, "1Gi")
  })
  default = {}

  validation {
    condition     = var.limits.instances >= 1 && var.limits.instances <= 100 && var.limits.concurrency >= 1
    error_message = "limits: from 1 to 100 instances, each with a concurrency of at least 1."
  }
}

variable "location" {
  description = "Region of the service."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.location))
    error_message = "location must be a region, us-central1 say."
  }
}

variable "name" {
  description = "The stage: the folder below functions/ that the service runs, and the name of its service account."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{4,20}$", var.name))
    error_message = "name must be a folder below functions/: 4 to 20 small letters."
  }
}

variable "project" {
  description = "Project of the service, its accounts and its subscriptions. The topics may be another project's."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project's id, not its name or number."
  }
}

variable "pubsub_agent" {
  description = "Pub/Sub's service agent of this project, serviceAccount:service-NUMBER@gcp-sa-pubsub.iam.gserviceaccount.com."
  type        = string

  validation {
    condition     = can(regex("^serviceAccount:", var.pubsub_agent))
    error_message = "pubsub_agent must be an IAM member, serviceAccount:…"
  }
}

variable "secrets" {
  description = "Settings that Secret Manager holds: environment variable to the secret's name in this project, and its version."
  type        = map(object({ name = string, version = string }))
  default     = {}

  validation {
    condition     = alltrue([for name, one in var.secrets : can(regex("^DMZ_[A-Z_]+$", name)) && one.version != "latest"])
    error_message = "secrets holds DMZ_ variables, each with the number of a version: what is latest changes unseen."
  }
}

variable "topics" {
  description = "Topics that are pushed to the stage: the topic's short name to its project, whether its bodies hold credentials (docs/decisions/0008-who-speaks-for-a-run.md), and whether they are dead letters themselves."
  type = map(object({
    credentials  = optional(bool, false)
    dead_letters = optional(bool, false)
    project      = string
  }))

  validation {
    condition     = length(var.topics) > 0
    error_message = "topics must name at least one topic: a stage that hears nothing does nothing."
  }
}
