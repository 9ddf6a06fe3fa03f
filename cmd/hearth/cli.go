package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"hearth/cmd/internal/bench"
	"hearth/configs"
)

// Exit statuses. A command that needs another one returns an error with an ExitCode method (kong.ExitCoder).
const (
	exitOK      = 0
	exitRuntime = 1
	exitConfig  = 2 // configuration or command line
	exitWrong   = 5 // what was looked at is not as it should be
)

// CLI is the command line. Commands have a method Run(ctx context.Context, p *Process) error; ctx ends with the first
// SIGINT or SIGTERM.
type CLI struct {
	Dev   DevCmd   `cmd:"" group:"run" help:"Run hearth with nothing else: own Redis and SQL, demo, bots."`
	Serve ServeCmd `cmd:"" group:"run" help:"Run one instance on real Redis and MySQL."`

	Config  ConfigCmd  `cmd:"" group:"setup" help:"Write, check and show the configuration."`
	Keys    KeysCmd    `cmd:"" group:"setup" help:"Make API keys for app servers."`
	Token   TokenCmd   `cmd:"" group:"setup" help:"Make and check user tokens."`
	Migrate MigrateCmd `cmd:"" group:"setup" help:"Bring the MySQL schema up to date, or show where it is."`
	Repair  RepairCmd  `cmd:"" group:"setup" help:"Mend what a restored backup has broken."`

	Send        SendCmd        `cmd:"" group:"look" help:"Send a text to a group, or to a user."`
	Tail        TailCmd        `cmd:"" group:"look" help:"Print a group's messages as they come."`
	Pull        PullCmd        `cmd:"" group:"look" help:"Print messages of a group."`
	Dead        DeadCmd        `cmd:"" group:"look" help:"List and retry messages that MySQL has refused."`
	Hooks       HooksCmd       `cmd:"" group:"look" help:"Try the receiver of webhooks, and see to what it did not take."`
	Top         TopCmd         `cmd:"" group:"look" help:"Show what all instances do: hot rooms, rates, connections, backlog."`
	Inspect     InspectCmd     `cmd:"" group:"look" help:"Show what there is of a group or a user, in Redis and in MySQL."`
	Bench       bench.Cmd      `cmd:"" group:"look" help:"Put load on running instances over the public API, and check what they promise."`
	Verify      VerifyCmd      `cmd:"" group:"look" help:"Audit a live system: Redis against MySQL."`
	Healthcheck HealthcheckCmd `cmd:"" group:"look" help:"Ask an instance whether it is well; for containers."`
	Version     VersionCmd     `cmd:"" group:"look" help:"Print the version."`
}

// Process is what a command sees of the process it runs in.
type Process struct {
	Environ  []string // as os.Environ
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool // Stdout is one
	// Size is the terminal's, in columns and lines; 0 where it does not tell, nil where nobody can.
	Size func() (width, height int)
}

// Warn writes each line to standard error.
func (p *Process) Warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(p.Stderr, "warning: "+w)
	}
}

// ConfigFlag is the -c of every command that reads the configuration.
type ConfigFlag struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file; HEARTH_… variables win over it. Without one: the variables alone."`
}

// load reads the configuration and passes on its warnings.
func (f ConfigFlag) load(p *Process) (configs.Config, error) {
	c, warnings, err := configs.Load(f.Config, p.Environ)
	p.Warn(warnings)
	return c, err
}

// loadServe is load with the rules of serve.
func (f ConfigFlag) loadServe(p *Process) (configs.Config, error) {
	c, warnings, err := configs.LoadServe(f.Config, p.Environ)
	p.Warn(warnings)
	return c, err
}

// run does what args say and returns the exit status.
func run(ctx context.Context, args []string, p *Process) int {
	helped := false
	parser, err := kong.New(&CLI{},
		kong.Name("hearth"),
		kong.Description("Group chat on Redis and MySQL: ordered messages, catch-up by seq, hot rooms."),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(int) { helped = true }), // called by --help alone
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Run:"},
			{Key: "setup", Title: "Set up:"},
			{Key: "look", Title: "Look:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)
	if err != nil {
		return p.fail(fmt.Errorf("command line is declared wrongly: %w", err))
	}
	if len(args) == 0 {
		parser.Parse([]string{"--help"}) //nolint:errcheck // the help is printed, the status says what was missing
		return exitConfig
	}
	command, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		return p.fail(err)
	}
	if err := command.Run(); err != nil {
		return p.fail(err)
	}
	return exitOK
}

// fail tells the error and returns its exit status, which is never 0.
func (p *Process) fail(err error) int {
	var mistakes configs.Mistakes
	var usage *kong.ParseError
	var coded kong.ExitCoder
	switch {
	case errors.As(err, &mistakes):
		fmt.Fprintln(p.Stderr, mistakes)
		return exitConfig
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "hearth: %s\nTry: hearth %s--help\n", usage, commandOf(usage))
		return exitConfig
	case errors.As(err, &coded) && coded.ExitCode() != exitOK:
		fmt.Fprintf(p.Stderr, "hearth: %s\n", err)
		return coded.ExitCode()
	default:
		fmt.Fprintf(p.Stderr, "hearth: %s\n", err)
		return exitRuntime
	}
}

// commandOf is the command the mistake was made in, with a space behind, or "".
func commandOf(err *kong.ParseError) string {
	if err.Context == nil || err.Context.Selected() == nil {
		return ""
	}
	return err.Context.Selected().FullPath()[len("hearth "):] + " "
}
