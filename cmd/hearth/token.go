package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"hearth/configs"
	"hearth/domain"
	"hearth/transport/auth"
)

// TokenCmd is `hearth token`.
type TokenCmd struct {
	New   TokenNewCmd   `cmd:"" help:"Print a token for a user."`
	Check TokenCheckCmd `cmd:"" help:"Tell whose token it is and until when, or why it is not accepted."`
}

// TokenNewCmd is `hearth token new`.
type TokenNewCmd struct {
	ConfigFlag
	User   string        `short:"u" required:"" placeholder:"ID" help:"User the token is for."`
	Name   string        `help:"Name that others see."`
	Device string        `placeholder:"CLASS" help:"Device class, such as ios or web."`
	TTL    time.Duration `name:"ttl" default:"24h" help:"How long the token holds."`
}

// Run prints the token and nothing else.
func (c *TokenNewCmd) Run(p *Process) error {
	if err := c.check(); err != nil {
		return usageError{err}
	}
	secret, err := c.jwtSecret(p)
	if err != nil {
		return err
	}
	token, err := auth.Sign(secret, auth.Claims{User: c.User, Device: c.Device, Name: c.Name, Expires: time.Now().Add(c.TTL)})
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, token)
	return nil
}

func (c *TokenNewCmd) check() error {
	if err := domain.CheckUser("--user", c.User); err != nil {
		return err
	}
	if c.Device != "" {
		if err := domain.CheckID("--device", c.Device); err != nil {
			return err
		}
	}
	if c.TTL < time.Second {
		return errors.New("--ttl must be at least 1s")
	}
	return nil
}

// jwtSecret is the secret that instances with this configuration know.
func (f ConfigFlag) jwtSecret(p *Process) ([]byte, error) {
	config, err := f.load(p)
	if err != nil {
		return nil, err
	}
	if config.Auth.JWTHMACSecret == "" {
		return nil, configs.Mistakes{{
			Key:     "auth.jwt_hmac_secret",
			Message: "is required: the instances' own, from their file (-c FILE) or HEARTH_AUTH_JWT_HMAC_SECRET",
		}}
	}
	return []byte(config.Auth.JWTHMACSecret.Reveal()), nil
}

// TokenCheckCmd is `hearth token check`.
type TokenCheckCmd struct {
	ConfigFlag
	Token string `arg:"" help:"The token."`
}

// Run fails with status 1 when an instance would refuse the token.
func (c *TokenCheckCmd) Run(p *Process) error {
	secret, err := c.jwtSecret(p)
	if err != nil {
		return err
	}
	verifier, err := auth.New(auth.Config{HMACSecret: secret})
	if err != nil {
		return err
	}
	claims, err := verifier.User(c.Token)
	if err != nil {
		return fmt.Errorf("not accepted: %s", domain.AsError(err).Message)
	}
	return printClaims(p, claims)
}

func printClaims(p *Process, c auth.Claims) error {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "user\t%s\n", c.User)
	if c.Name != "" {
		fmt.Fprintf(w, "name\t%q\n", c.Name)
	}
	if c.Device != "" {
		fmt.Fprintf(w, "device\t%q\n", c.Device)
	}
	left := time.Until(c.Expires).Round(time.Second)
	fmt.Fprintf(w, "expires\t%s (in %s)\n", c.Expires.UTC().Format(time.RFC3339), left)
	return w.Flush()
}
