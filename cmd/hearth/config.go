package main

import (
	"fmt"
	"os"
	"strings"

	"hearth/configs"
)

// ConfigCmd is `hearth config`.
type ConfigCmd struct {
	Init  ConfigInitCmd  `cmd:"" help:"Write a commented file with every key and a fresh secret."`
	Check ConfigCheckCmd `cmd:"" help:"Tell everything that serve would refuse, with line and caret."`
	Print ConfigPrintCmd `cmd:"" help:"Show what is in force, secrets as ***."`
	Env   ConfigEnvCmd   `cmd:"" help:"List every HEARTH_… variable."`
}

// ConfigInitCmd is `hearth config init`.
type ConfigInitCmd struct {
	Output string `short:"o" placeholder:"FILE" help:"Write to this new file, readable by you alone, instead of standard output."`
}

// Run writes the sample; it never writes over a file.
func (c *ConfigInitCmd) Run(p *Process) error {
	if c.Output == "" {
		_, err := p.Stdout.Write(configs.Sample())
		return err
	}
	file, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(configs.Sample()); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "Wrote %s. Now fill in redis.addrs and mysql.dsn, then: hearth config check -c %s\n", c.Output, c.Output)
	return nil
}

// ConfigCheckCmd is `hearth config check`.
type ConfigCheckCmd struct{ ConfigFlag }

// Run says "ok", or fails with all mistakes.
func (c *ConfigCheckCmd) Run(p *Process) error {
	if _, err := c.loadServe(p); err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, "ok")
	return nil
}

// ConfigPrintCmd is `hearth config print`.
type ConfigPrintCmd struct{ ConfigFlag }

// Run prints YAML.
func (c *ConfigPrintCmd) Run(p *Process) error {
	config, err := c.load(p)
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(config.Print())
	return err
}

// ConfigEnvCmd is `hearth config env`.
type ConfigEnvCmd struct{}

// Run prints a paragraph for each variable.
func (c *ConfigEnvCmd) Run(p *Process) error {
	for _, v := range configs.EnvNames() {
		fmt.Fprintf(p.Stdout, "%s=%s\n%s\n", v.Name, v.Default, indented(v.Doc, 100))
	}
	return nil
}

// indented breaks text into lines of at most width characters, four spaces in.
func indented(text string, width int) string {
	var b strings.Builder
	length := 0
	for word := range strings.FieldsSeq(text) {
		if length == 0 || length+1+len(word) > width {
			if length > 0 {
				b.WriteString("\n")
			}
			b.WriteString("   ")
			length = 3
		}
		b.WriteString(" " + word)
		length += 1 + len(word)
	}
	return b.String() + "\n"
}
