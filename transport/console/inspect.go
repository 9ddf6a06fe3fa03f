package console

import (
	"context"
	"fmt"
	"net/http"

	"hearth/domain"
)

func (c *Console) inspectGroup(w http.ResponseWriter, r *http.Request, _ session) error {
	found, err := c.Inspector.Group(r.Context(), r.PathValue("group"))
	if err != nil {
		return err
	}
	return writeJSON(w, found)
}

func (c *Console) inspectUser(w http.ResponseWriter, r *http.Request, _ session) error {
	found, err := c.Inspector.User(r.Context(), r.PathValue("user"), r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	return writeJSON(w, found)
}

// rates is the chart of all instances, or with group that of one group.
func (c *Console) rates(w http.ResponseWriter, r *http.Request, _ session) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	now := c.Clock.NowMS()
	if group := r.URL.Query().Get("group"); group != "" {
		chart, err := domain.GroupRatesOf(ctx, c.Redis, c.MySQL, group, now)
		if err != nil {
			return err
		}
		return writeJSON(w, chart)
	}
	told, err := c.Redis.FleetSince(ctx, domain.RatesSince(now))
	if err != nil {
		return domain.Unavailable(fmt.Errorf("rates: %w", err), "Redis")
	}
	return writeJSON(w, domain.FleetRatesOf(now, told))
}

func (c *Console) settings(w http.ResponseWriter, _ *http.Request, _ session) error {
	return writeJSON(w, struct {
		Config string `json:"config"`
	}{string(c.Settings)})
}
