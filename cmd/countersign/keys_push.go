// This file owns the command `keys rotate-push`.

package main

import (
	"context"
	"fmt"

	"countersign.dev/internal/admin"
	"countersign.dev/internal/settings"
)

type keysRotatePush struct {
	settings.Storage
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is printed by keys rotate-push --help.
func (*keysRotatePush) Help() string {
	return `The key tells push services who sends (VAPID). It needs no regular change; make a new one when the old one may be known to others.
Devices that subscribed with the old one are reached with it until they have subscribed anew.`
}

func (c *keysRotatePush) Run(ctx context.Context, out *output) error {
	var key admin.PushKey
	err := administer(ctx, &c.Storage, "", out.Err, func(client *admin.Client) error {
		return client.Do(ctx, admin.Request{Act: "push.rotate"}, &key)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(key)
	}
	_, err = fmt.Fprintf(out.Out, "Devices subscribe with the new key from now on: %s\n", key.Key)
	return err
}
