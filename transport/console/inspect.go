package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"hearth/domain"
)

func (c *Console) inspectGroup(w http.ResponseWriter, r *http.Request, _ session) error {
	found, err := c.Inspector.Group(r.Context(), pathID(r, "group"))
	if err != nil {
		return err
	}
	return writeJSON(w, found)
}

func (c *Console) inspectUser(w http.ResponseWriter, r *http.Request, _ session) error {
	found, err := c.Inspector.User(r.Context(), pathID(r, "user"), r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	return writeJSON(w, found)
}

// rates is the chart of all instances, or with group that of one group.
func (c *Console) rates(w http.ResponseWriter, r *http.Request, _ session) error {
	group := r.URL.Query().Get("group")
	if group == "" {
		return show(w, r, c.chart)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	chart, err := domain.GroupRatesOf(ctx, c.Redis, c.MySQL, group, c.Clock.NowMS())
	if err != nil {
		return err
	}
	return writeJSON(w, chart)
}

// draw makes the chart of all instances: a status of each every 2 s, which is much to read of many.
func (c *Console) draw(ctx context.Context) ([]byte, error) {
	now := c.Clock.NowMS()
	told, err := c.Redis.FleetSince(ctx, domain.RatesSince(now))
	if err != nil {
		return nil, domain.Unavailable(fmt.Errorf("rates: %w", err), "Redis")
	}
	data, err := json.Marshal(domain.FleetRatesOf(now, told))
	if err != nil {
		return nil, fmt.Errorf("rates: %w", err)
	}
	return data, nil
}

func (c *Console) settings(w http.ResponseWriter, _ *http.Request, _ session) error {
	return writeJSON(w, struct {
		Config string `json:"config"`
	}{string(c.Settings)})
}
