terraform {
  required_version = ">= 1.9, < 2.0"

  # Where the state is, is said at `terraform init -backend-config=bucket=…`: a bucket with versions that few may read.
  backend "gcs" {
    prefix = "package-dmz/outer"
  }

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 8.7"
    }
  }
}

provider "google" {
  project               = var.project
  region                = var.location
  user_project_override = true
}

provider "google-beta" {
  project               = var.project
  region                = var.location
  user_project_override = true
}

data "google_project" "outer" {
  project_id = var.project
}
