package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"countersign.dev/internal/doctor"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
)

// This file owns `countersign doctor`.

type doctorCmd struct {
	settings.Serve
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is printed by doctor --help.
func (*doctorCmd) Help() string {
	return `Give it the settings of serve, and run it as the user that serve runs as. It changes nothing.

Exit codes: 0 all is well, or works with a warning; 1 something does not work.`
}

// Run looks at everything, and fails when something does not work.
func (c *doctorCmd) Run(ctx context.Context, out *output) error {
	var found []doctor.Finding
	if problems, wrong := errors.AsType[settings.Problems](c.Serve.Check()); wrong {
		for _, p := range problems {
			found = append(found, doctor.Finding{Check: "settings", Level: doctor.Fail, Says: p.Error()})
		}
	} else {
		found = append(found, doctor.Finding{Check: "settings", Level: doctor.OK, Says: "They fit together."})
	}
	db, err := openDatabase(ctx, &c.Storage)
	if err != nil {
		if _, told := errors.AsType[settings.Problems](err); !told {
			found = append(found, doctor.Finding{Check: "database", Level: doctor.Fail, Says: err.Error()})
		}
		return c.print(out, found)
	}
	found = append(found, doctor.Examine(ctx, c.config(db))...)
	return errors.Join(c.print(out, found), db.Close())
}

// config is what there is to examine by the settings.
func (c *doctorCmd) config(db *store.Store) doctor.Config {
	cfg := doctor.Config{
		DB: db, Master: c.MasterKey, Former: c.FormerMasters(), Private: map[string]string{}, URLs: map[string]string{}, Egress: c.Egress(), Retain: c.Retention.Settings(),
		Client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, Now: time.Now,
	}
	for what, path := range map[string]string{
		"master key": string(c.MasterKeyFile), "former master key": string(c.FormerMasterKeyFile), "database's address": string(c.DatabaseFile),
	} {
		if path != "" {
			cfg.Private[what] = path
		}
	}
	if !c.Database.Postgres() {
		cfg.Private["database"] = string(c.Database)
	}
	gateways, err := c.Gateways() // what is wrong with them is among the problems above
	if err == nil {
		told := map[string]bool{}
		for _, of := range gateways {
			for _, g := range of {
				if !told[g.Name()] { // one may carry several channels
					told[g.Name()] = true
					cfg.Gateways = append(cfg.Gateways, g)
				}
			}
		}
	}
	for _, surface := range c.Surfaces() {
		if surface.URL != "" {
			cfg.URLs[surface.Name] = string(surface.URL)
		}
		if surface.Key != "" {
			cfg.Private[surface.Name+" certificate's key"] = string(surface.Key)
		}
	}
	return cfg
}

func (c *doctorCmd) print(out *output, found []doctor.Finding) error {
	if c.JSON {
		if err := out.json(found); err != nil {
			return err
		}
	} else {
		for _, f := range found {
			if _, err := fmt.Fprintf(out.Out, "%-4s  %-18s %s\n", f.Level, f.Check, f.Says); err != nil {
				return err
			}
		}
	}
	if doctor.Worst(found) == doctor.Fail {
		return errors.New("something does not work: see the lines that begin with fail")
	}
	return nil
}
