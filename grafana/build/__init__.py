"""The dashboards as code: `make dashboards` writes `grafana/dashboards/*.json` of these modules."""
