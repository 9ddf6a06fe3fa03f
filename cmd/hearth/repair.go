package main

import (
	"context"
	"errors"
	"fmt"

	"hearth/cmd/internal/app"
	"hearth/domain"
)

// RepairCmd is `hearth repair`.
type RepairCmd struct {
	Floors RepairFloorsCmd `cmd:"" help:"After MySQL was restored from a backup, before serving: no seq is given twice."`
}

// RepairFloorsCmd is `hearth repair floors`.
type RepairFloorsCmd struct {
	ConfigFlag
	Yes          bool `help:"Do it. Without it only tells what would be done."`
	Force        bool `help:"Although instances seem to live."`
	WithoutRedis bool `help:"Redis is gone for good: go by MySQL alone. What only Redis has is lost."`
}

// Run prints a line for each partition and group that changes.
func (c *RepairFloorsCmd) Run(ctx context.Context, p *Process) (err error) {
	cfg, err := c.loadServe(p)
	if err != nil {
		return err
	}
	stores, err := app.OpenStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	groups, back := 0, 0
	repair := &domain.FloorRepair{
		Store: stores.SQL, Cache: stores.Redis, Partitions: stores.Partitions, Dry: !c.Yes, Force: c.Force,
		Generation: func(partition int, before, after domain.Generation) {
			fmt.Fprintf(p.Stdout, "partition %d  generation %d to %d\n", partition, before.Gen, after.Gen)
		},
		Raised: func(r domain.RaisedFloor) {
			groups, back = groups+1, back+r.Back
			printRaised(p, r)
		},
	}
	if c.WithoutRedis {
		repair.Cache = nil
	}
	if err := repair.Run(ctx); err != nil {
		return err
	}
	done := "done"
	if !c.Yes {
		done = "nothing was changed, --yes does it"
	}
	fmt.Fprintf(p.Stdout, "%s, %s written back: %s\n", plural(groups, "group"), plural(back, "message"), done)
	return nil
}

func printRaised(p *Process, r domain.RaisedFloor) {
	fmt.Fprintf(p.Stdout, "%s  up to %d to %d, %s written back", r.Group, r.Top, r.Floor, plural(r.Back, "message"))
	if r.NotBack > 0 {
		fmt.Fprintf(p.Stdout, ", %d not: their seqs are taken or were given up", r.NotBack)
	}
	if r.Unknown {
		fmt.Fprint(p.Stdout, "; MySQL does not have this group: make it again to reach them")
	}
	fmt.Fprintln(p.Stdout)
}
