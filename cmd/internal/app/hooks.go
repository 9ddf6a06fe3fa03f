package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/configs"
	"hearth/domain"
	"hearth/transport/webhook"
	"hearth/transport/wire"
)

// newGate makes what asks the app's back end about messages; nil when nobody is to be asked.
func newGate(
	cfg configs.Webhooks, metrics *webhook.Metrics, limits wire.Limits, heads domain.HeadCache, nowMS func() int64,
	log zerolog.Logger, reg prometheus.Registerer,
) (*webhook.Gate, error) {
	if cfg.BeforeSendURL == "" {
		return nil, nil
	}
	client, err := webhook.New(webhook.Config{
		URL: cfg.BeforeSendURL, Secret: cfg.Secret.Reveal(), Timeout: cfg.BeforeSendTimeout.D(), Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	return webhook.NewGate(webhook.GateConfig{
		Client: client, Timeout: cfg.BeforeSendTimeout.D(), FailOpen: cfg.BeforeSendFailure == "open",
		Concurrency: cfg.BeforeSendConcurrency, NowMS: nowMS, Log: log, Register: reg,
		CheckBody: func(body []byte) ([]byte, error) { return wire.Body(body, limits) },
		TypeOf: func(ctx context.Context, group string) domain.GroupType {
			found, err := heads.Heads(ctx, "", []string{group})
			if err != nil {
				return "" // the message fares no better
			}
			return found[0].Type
		},
	}), nil
}
