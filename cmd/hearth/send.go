package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hearth/transport/client"
)

// SendCmd is `hearth send`.
type SendCmd struct {
	ChatFlags
	To    string   `placeholder:"USER" help:"Send to this user directly; then there is no GROUP."`
	Words []string `arg:"" name:"group-and-text" help:"GROUP TEXT, or with --to just TEXT. Several words make one text."`
}

// Run sends a text, and prints the group and the message's seq.
func (c *SendCmd) Run(ctx context.Context, p *Process) error {
	group, words := "", c.Words
	if c.To == "" {
		group, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return usageError{errors.New("expected GROUP TEXT")}
	}
	if err := c.fill(p); err != nil {
		return err
	}
	draft := client.Draft{Group: group, To: c.To, Body: client.Text(strings.Join(words, " "))}
	var receipt client.Receipt
	err := c.talk(ctx, client.Config{}, func(ctx context.Context, talking *client.Client) (err error) {
		ctx, cancel := context.WithTimeout(ctx, chatTimeout)
		defer cancel()
		receipt, err = talking.Send(ctx, draft)
		return err
	})
	if err != nil {
		return inWords(err, group+c.To)
	}
	out := printer{p: p, json: c.JSON}
	out.object(receipt, fmt.Sprintf("%s %d", receipt.Group, receipt.Seq))
	return nil
}
