package bench

import (
	"context"
	"os"
	"time"
)

// Cmd is `hearth bench`, in kong's form. The commands write their reports to standard output. Their errors have an
// ExitCode: 2 setup, 3 target missed, 4 down, 5 wrong.
type Cmd struct {
	Send    SendCmd    `cmd:"" help:"Closed loop of sends in many small groups: rate, latency, CPU per message, order, gaps and repeats."`
	Fanout  FanoutCmd  `cmd:"" help:"Messages to one large group: CPU per delivery, latency, order, gaps and repeats at every subscriber."`
	Idle    IdleCmd    `cmd:"" help:"Many connections that do nothing: memory of the server for each of them."`
	Catchup CatchupCmd `cmd:"" help:"Clients that read what they missed, again and again: rate, CPU per message, completeness."`
}

// BaseFlags are those of every bench.
type BaseFlags struct {
	URL    []string `default:"http://127.0.0.1:8080" help:"Base URLs of the instances; connections go round them in turn."`
	Secret string   `required:"" env:"HEARTH_AUTH_JWT_HMAC_SECRET" help:"Signs the users' tokens (HS256)."`
	APIKey string   `name:"api-key" required:"" env:"HEARTH_API_KEY" help:"Creates the groups."`

	PID     map[string]int `name:"pid" mapsep:"," placeholder:"NAME=PID" help:"Processes whose CPU time or memory is reported, e.g. server=1,redis=2."`
	Prefix  string         `help:"Of group and user ids; new to the server (default: random)."`
	Timeout time.Duration  `default:"10s" help:"Without an answer for so long the server is down."`
	JSON    bool           `name:"json" help:"Report as JSON."`
}

func (f BaseFlags) base() Base {
	return Base{
		URLs: f.URL, Secret: []byte(f.Secret), APIKey: f.APIKey,
		Timeout: f.Timeout, PIDs: f.PID, Prefix: f.Prefix, JSON: f.JSON,
	}
}

// LoadFlags are those of a bench that measures for a time.
type LoadFlags struct {
	Duration time.Duration `help:"Measured time, after the warm-up (10s unless a number ends it)."`
	Warmup   time.Duration `default:"2s" help:"Load before it is measured; 0s: none."`
}

// warmup is in the form of the configurations, where 0 is the default.
func (f LoadFlags) warmup() time.Duration {
	if f.Warmup == 0 {
		return -1
	}
	return f.Warmup
}

// SendCmd is `hearth bench send`.
type SendCmd struct {
	BaseFlags
	LoadFlags

	Connections int   `default:"200" help:"Connections, one user each."`
	Groups      int   `default:"100" help:"Groups the users are spread over."`
	InFlight    int   `default:"1" help:"Unanswered sends of a connection."`
	Batch       int   `default:"1" help:"Sends in one frame at most."`
	Bytes       int   `default:"128" help:"Bytes of text in a message."`
	Messages    int64 `help:"Measured messages; with --duration, whichever ends first."`

	MySQL string `name:"mysql" placeholder:"DSN" help:"Wait until every message is a row there, and tell how long that took."`

	MinRate    float64       `help:"Target: acked messages per second, at least."`
	MaxCPU     float64       `name:"max-cpu" help:"Target: µs of CPU a message in all processes, at most."`
	MaxPersist time.Duration `help:"Target: from the end of the load to the last row, at most."`
}

// Run is called by kong.
func (c *SendCmd) Run(ctx context.Context) error {
	_, err := Send(ctx, c.config(), os.Stdout)
	return err
}

func (c *SendCmd) config() SendConfig {
	return SendConfig{
		Base:        c.base(),
		Connections: c.Connections, Groups: c.Groups, InFlight: c.InFlight, Batch: c.Batch, Bytes: c.Bytes,
		Duration: c.Duration, Messages: c.Messages, Warmup: c.warmup(), MySQLDSN: c.MySQL,
		MinRate: c.MinRate, MaxCPU: c.MaxCPU, MaxPersist: c.MaxPersist,
	}
}

// FanoutCmd is `hearth bench fanout`.
type FanoutCmd struct {
	BaseFlags
	LoadFlags

	Subscribers int     `default:"1000" help:"Members of the group, one connection each."`
	InFlight    int     `default:"16" help:"Messages that not everybody has yet."`
	Rate        float64 `help:"Messages per second on a fixed schedule, instead of --in-flight."`
	Bytes       int     `default:"128" help:"Bytes of text in a message."`
	Messages    int64   `help:"Measured messages; with --duration, whichever ends first."`

	MaxCPU float64       `name:"max-cpu" help:"Target: µs of CPU a delivery in all processes, at most."`
	MaxP99 time.Duration `name:"max-p99" help:"Target: from send to push for 99 of 100 deliveries, at most."`
}

// Run is called by kong.
func (c *FanoutCmd) Run(ctx context.Context) error {
	_, err := Fanout(ctx, c.config(), os.Stdout)
	return err
}

func (c *FanoutCmd) config() FanoutConfig {
	return FanoutConfig{
		Base:        c.base(),
		Subscribers: c.Subscribers, InFlight: c.InFlight, Rate: c.Rate, Bytes: c.Bytes,
		Duration: c.Duration, Messages: c.Messages, Warmup: c.warmup(),
		MaxCPU: c.MaxCPU, MaxP99: c.MaxP99,
	}
}

// IdleCmd is `hearth bench idle`.
type IdleCmd struct {
	BaseFlags

	Connections int           `default:"10000" help:"Connections, one user each."`
	GroupSize   int           `default:"100" help:"Members of a group."`
	Hold        time.Duration `default:"30s" help:"From the last welcome to the measurement; the server pings each connection every 25s."`

	MaxKiB float64 `name:"max-kib" help:"Target: KiB of resident memory a connection in all processes, at most."`
}

// Run is called by kong.
func (c *IdleCmd) Run(ctx context.Context) error {
	_, err := Idle(ctx, c.config(), os.Stdout)
	return err
}

func (c *IdleCmd) config() IdleConfig {
	return IdleConfig{Base: c.base(), Connections: c.Connections, GroupSize: c.GroupSize, Hold: c.Hold, MaxKiB: c.MaxKiB}
}

// CatchupCmd is `hearth bench catchup`.
type CatchupCmd struct {
	BaseFlags
	LoadFlags

	Clients int    `default:"50" help:"Connections that catch up, one user each."`
	Missed  int    `default:"1000" help:"Messages in the group."`
	Op      string `default:"pull" enum:"pull,sync,subscribe" help:"What they read with: ${enum}."`
	Page    int    `default:"200" help:"Messages asked for at once."`
	Bytes   int    `default:"128" help:"Bytes of text in a message."`

	Catchups int64 `help:"Measured catch-ups of all clients; with --duration, whichever ends first."`

	MinRate float64 `help:"Target: messages read per second, at least."`
	MaxCPU  float64 `name:"max-cpu" help:"Target: µs of CPU a message read in all processes, at most."`
}

// Run is called by kong.
func (c *CatchupCmd) Run(ctx context.Context) error {
	_, err := Catchup(ctx, c.config(), os.Stdout)
	return err
}

func (c *CatchupCmd) config() CatchupConfig {
	return CatchupConfig{
		Base:    c.base(),
		Clients: c.Clients, Missed: c.Missed, Op: c.Op, Page: c.Page, Bytes: c.Bytes,
		Duration: c.Duration, Catchups: c.Catchups, Warmup: c.warmup(),
		MinRate: c.MinRate, MaxCPU: c.MaxCPU,
	}
}
