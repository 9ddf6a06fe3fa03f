package main

import (
	"context"
	"errors"

	"hearth/transport/client"
)

// TailCmd is `hearth tail`.
type TailCmd struct {
	ChatFlags
	After int64  `default:"-1" placeholder:"SEQ" help:"Start behind this seq; 0 is the beginning. Default: with what comes from now on."`
	Group string `arg:"" help:"The group or room."`
}

// Run prints a line for each message until the first signal.
func (c *TailCmd) Run(ctx context.Context, p *Process) error {
	if err := c.fill(p); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := printer{p: p, json: c.JSON}
	cfg := client.Config{
		OnMessage:    out.message,
		OnHole:       out.hole,
		OnGroupError: func(_ string, err error) { cancel(err) },
		OnState:      out.state,
	}
	err := c.talk(ctx, cfg, func(ctx context.Context, talking *client.Client) error {
		talking.Follow(c.Group, c.After)
		<-ctx.Done()
		return ctx.Err()
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return inWords(err, c.Group)
}
