package main

import (
	"context"
	"errors"

	"hearth/domain"
	"hearth/transport/client"
)

// PullCmd is `hearth pull`.
type PullCmd struct {
	ChatFlags
	After *int64 `placeholder:"SEQ" help:"Messages behind this seq; 0 is the beginning. Default: the newest ones."`
	Limit int    `default:"50" help:"How many at most (${default})."`
	Group string `arg:"" help:"The group or room."`
}

// Run prints a line for each message, and tells where to go on.
func (c *PullCmd) Run(ctx context.Context, p *Process) error {
	if c.Limit < 1 {
		return usageError{errors.New("--limit must be at least 1")}
	}
	if err := c.fill(p); err != nil {
		return err
	}
	out := printer{p: p, json: c.JSON}
	err := c.talk(ctx, client.Config{}, func(ctx context.Context, talking *client.Client) error {
		return c.pull(ctx, talking, &out)
	})
	if err != nil {
		return inWords(err, c.Group)
	}
	return nil
}

func (c *PullCmd) pull(ctx context.Context, talking *client.Client, out *printer) error {
	query := client.PullQuery{Group: c.Group, AfterSeq: c.After}
	for left := c.Limit; ; {
		query.Limit = min(left, domain.MaxPage)
		page, err := pullPage(ctx, talking, query)
		if err != nil {
			return err
		}
		out.page(page)
		left -= len(page.Messages)
		if query.AfterSeq == nil || !page.More || len(page.Messages) == 0 {
			return nil
		}
		last := page.Messages[len(page.Messages)-1].Seq
		if left <= 0 {
			out.note("There is more: --after %d", last)
			return nil
		}
		query.AfterSeq = &last
	}
}

func pullPage(ctx context.Context, talking *client.Client, q client.PullQuery) (client.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	return talking.Pull(ctx, q)
}
