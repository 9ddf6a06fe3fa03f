package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"hearth/cmd/internal/app"
	"hearth/configs"
)

const devData = ".hearth"

// DevCmd is `hearth dev`.
type DevCmd struct {
	Addr      string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the first instance listens (${default}); the others take the ports behind it."`
	Instances int    `default:"2" help:"Instances in this process (${default})."`
	Bots      int    `default:"12" help:"Bots that talk (${default})."`
	Fresh     bool   `help:"Forget what earlier runs left in .hearth/."`
	Redis     string `placeholder:"ADDR" help:"Use this Redis instead of the embedded one."`
	MySQL     string `name:"mysql" placeholder:"DSN" help:"Use this MySQL instead of SQLite."`

	IKnowItIsInsecure bool `name:"i-know-it-is-insecure" help:"Allow --addr to be reachable from other machines."`
}

// Run serves the demo until the first signal.
func (c *DevCmd) Run(ctx context.Context, p *Process) error {
	if err := c.checkAddr(); err != nil {
		return usageError{err}
	}
	started := time.Now()
	dev, err := app.StartDev(ctx, app.DevConfig{
		Addr: c.Addr, Instances: c.Instances, Bots: c.Bots, Dir: devData, Fresh: c.Fresh, Redis: c.Redis, MySQL: c.MySQL, Version: Version(),
		Log: app.NewLogger(configs.Log{Level: "warn", Format: "console"}, p.Stderr),
	})
	if err != nil {
		return err
	}
	c.greet(p, dev, time.Since(started))
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	return dev.Stop(stopping)
}

// checkAddr keeps dev, whose secrets anybody can ask for, on this machine.
func (c *DevCmd) checkAddr() error {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("--addr must be host:port")
	}
	ip := net.ParseIP(host)
	if c.IKnowItIsInsecure || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--addr: dev gives a token to whoever asks, so it listens on 127.0.0.1 only; --i-know-it-is-insecure allows more")
}

func (c *DevCmd) greet(p *Process, dev *app.Dev, took time.Duration) {
	fmt.Fprintf(p.Stdout, "\n  demo       %s/demo\n", dev.URLs[0])
	fmt.Fprintf(p.Stdout, "  console    %s/console   admin key %s\n", dev.URLs[0], dev.Admin)
	for i, url := range dev.URLs {
		fmt.Fprintf(p.Stdout, "  instance %d %s\n", i+1, url)
	}
	fmt.Fprintf(p.Stdout, "  API docs   %s/v1/docs\n", dev.URLs[0])
	fmt.Fprintf(p.Stdout, "  metrics    %s/metrics\n", dev.URLs[0])
	fmt.Fprintf(p.Stdout, "  API key    %s\n", dev.APIKey)
	fmt.Fprintf(p.Stdout, "  bots       %d talk\n", c.Bots)
	fmt.Fprintf(p.Stdout, "\n  Ready in %d ms. Open the demo in two windows, ask for the ranking, or listen in another terminal:\n\n", took.Milliseconds())
	fmt.Fprintf(p.Stdout, "  curl -H 'Authorization: Bearer %s' '%s/v1/groups/hot'\n\n", dev.APIKey, dev.URLs[0])
	fmt.Fprintf(p.Stdout, "  export HEARTH_URL=%s HEARTH_TOKEN=%s\n  go run ./cmd/hearth tail lobby\n\n", dev.URLs[0], dev.Token)
}
