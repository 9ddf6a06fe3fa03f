package bench

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Cmd is `hearth bench`, in kong's form.
type Cmd struct {
	Send SendCmd `cmd:"" help:"Closed loop of sends in many small groups: rate, latency, CPU per message, order, gaps and repeats."`
}

// SendCmd is `hearth bench send`.
type SendCmd struct {
	URL    []string `default:"http://127.0.0.1:8080" help:"Base URLs of the instances; connections go round them in turn."`
	Secret string   `required:"" env:"HEARTH_AUTH_JWT_HMAC_SECRET" help:"Signs the users' tokens (HS256)."`
	APIKey string   `name:"api-key" required:"" env:"HEARTH_API_KEY" help:"Creates the groups."`

	Connections int `default:"200" help:"Connections, one user each."`
	Groups      int `default:"100" help:"Groups the users are spread over."`
	InFlight    int `default:"1" help:"Unanswered sends of a connection."`
	Batch       int `default:"1" help:"Sends in one frame at most."`
	Bytes       int `default:"128" help:"Bytes of text in a message."`

	Duration time.Duration `help:"Measured time, after the warm-up (10s without --messages)."`
	Messages int64         `help:"Measured messages; with --duration, whichever ends first."`
	Warmup   time.Duration `default:"2s" help:"Load before it is measured; 0s: none."`
	Timeout  time.Duration `default:"10s" help:"Without an answer for so long the server is down."`

	PID    map[string]int `name:"pid" mapsep:"," placeholder:"NAME=PID" help:"Processes whose CPU time is reported, e.g. server=1,redis=2."`
	Prefix string         `help:"Of group and user ids; new to the server (default: random)."`
	MySQL  string         `name:"mysql" placeholder:"DSN" help:"Wait until every message is a row there, and tell how long that took."`
	JSON   bool           `name:"json" help:"Report as JSON."`

	MinRate    float64       `help:"Target: acked messages per second, at least."`
	MaxCPU     float64       `name:"max-cpu" help:"Target: µs of CPU a message in all processes, at most."`
	MaxPersist time.Duration `help:"Target: from the end of the load to the last row, at most."`
}

// Run writes the report to standard output. Its errors have an ExitCode: 2 setup, 3 target missed, 4 down, 5 wrong.
func (c *SendCmd) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	_, err := Send(ctx, c.config(), os.Stdout)
	return err
}

func (c *SendCmd) config() SendConfig {
	cfg := SendConfig{
		URLs: c.URL, Secret: []byte(c.Secret), APIKey: c.APIKey,
		Connections: c.Connections, Groups: c.Groups, InFlight: c.InFlight, Batch: c.Batch, Bytes: c.Bytes,
		Duration: c.Duration, Messages: c.Messages, Warmup: c.Warmup, Timeout: c.Timeout,
		PIDs: c.PID, Prefix: c.Prefix, MySQLDSN: c.MySQL, JSON: c.JSON,
		MinRate: c.MinRate, MaxCPU: c.MaxCPU, MaxPersist: c.MaxPersist,
	}
	if c.Warmup == 0 {
		cfg.Warmup = -1
	}
	return cfg
}
