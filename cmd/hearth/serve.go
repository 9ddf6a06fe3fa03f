package main

import (
	"context"

	"hearth/cmd/internal/app"
)

// ServeCmd is `hearth serve`.
type ServeCmd struct {
	ConfigFlag
	Migrate string `enum:",auto,check,off" default:"" placeholder:"auto|check|off" help:"Overrides mysql.migrate: bring the schema up to date, refuse to start when it is old, or do not look."`
}

// Run serves until the first signal, then leaves in order.
func (c *ServeCmd) Run(ctx context.Context, p *Process) error {
	cfg, err := c.loadServe(p)
	if err != nil {
		return err
	}
	if c.Migrate != "" {
		cfg.MySQL.Migrate = c.Migrate
	}
	return app.Serve(ctx, cfg, Version(), app.NewLogger(cfg.Log, p.Stderr))
}
