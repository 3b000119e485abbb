-- What the family's machines and members report of themselves. The machines are in 0001; how they are paired and what
-- they prove is the auth plugin's.

CREATE TABLE public.device_heartbeats (
    family_id uuid NOT NULL,
    device_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    app_version text NOT NULL DEFAULT '',
    battery_percent smallint,
    free_bytes bigint,
    details jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT device_heartbeats_pkey PRIMARY KEY (family_id, device_id, at),
    CONSTRAINT device_heartbeats_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT device_heartbeats_device_id_fkey FOREIGN KEY (family_id, device_id)
        REFERENCES public.devices (family_id, id) ON DELETE CASCADE,
    CONSTRAINT device_heartbeats_app_version_check CHECK (length(app_version) <= 100),
    CONSTRAINT device_heartbeats_battery_percent_check CHECK (battery_percent BETWEEN 0 AND 100),
    CONSTRAINT device_heartbeats_free_bytes_check CHECK (free_bytes >= 0),
    CONSTRAINT device_heartbeats_details_check CHECK (
        jsonb_typeof(details) = 'object' AND pg_column_size(details) <= 8192
    )
);

COMMENT ON TABLE public.device_heartbeats IS 'What a machine said of itself at a moment; kept for some days';

-- Old ones are deleted by age, across families.
CREATE INDEX device_heartbeats_at_idx ON public.device_heartbeats (at);

SELECT nself.isolate('public.device_heartbeats');

CREATE TABLE public.member_locations (
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    latitude double precision NOT NULL,
    longitude double precision NOT NULL,
    accuracy_m real,
    at timestamptz NOT NULL DEFAULT now(),
    -- Sharing ends by itself.
    shared_until timestamptz NOT NULL,
    CONSTRAINT member_locations_pkey PRIMARY KEY (family_id, member_id),
    CONSTRAINT member_locations_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT member_locations_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT member_locations_latitude_check CHECK (latitude BETWEEN -90 AND 90),
    CONSTRAINT member_locations_longitude_check CHECK (longitude BETWEEN -180 AND 180),
    CONSTRAINT member_locations_accuracy_m_check CHECK (accuracy_m >= 0)
);

COMMENT ON TABLE public.member_locations IS 'Where a member is, as long as they share it; the last place only';

CREATE INDEX member_locations_shared_until_idx ON public.member_locations (shared_until);

SELECT nself.isolate('public.member_locations');

CREATE FUNCTION public.see_device() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.devices d SET last_seen_at = h.at
    FROM (SELECT n.family_id, n.device_id, max(n.at) AS at FROM new_rows n GROUP BY 1, 2) AS h
    WHERE d.family_id = h.family_id AND d.id = h.device_id AND (d.last_seen_at IS NULL OR d.last_seen_at < h.at);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.see_device() FROM PUBLIC;

CREATE TRIGGER device_heartbeats_see AFTER INSERT ON public.device_heartbeats
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.see_device();
