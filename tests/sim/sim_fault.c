/* What goes wrong, drawn from the seed. */
#include "sim.h"

#include <string.h>

#define FAULTS_FROM_US 600000u
#define FAULTS_SPAN_US 12000000u

void sim_faults_plan(struct sim *self)
{
    uint64_t count = sim_random(self, 13);
    for (uint64_t i = 0; i < count; i++)
        sim_push(self, (struct sim_event){.kind = SIM_EVENT_FAULT},
            FAULTS_FROM_US + sim_random(self, FAULTS_SPAN_US));
}

static int some_worker(struct sim *self)
{
    int node = (int)sim_random(self, self->node_count);
    return self->node_process[node];
}

static int some_conn(struct sim *self, enum sim_plane plane)
{
    int open[SIM_CONNS_MAX];
    uint64_t count = 0;
    for (int i = 0; i < self->conn_count; i++)
        if (self->conns[i].open && self->conns[i].plane == plane)
            open[count++] = i;
    return count == 0 ? -1 : open[sim_random(self, count)];
}

static void kill_worker(struct sim *self)
{
    int process = some_worker(self);
    if (process < 0)
        return;
    int node = self->processes[process]->node;
    sim_trace(self, "fault: %s is killed", self->processes[process]->name);
    sim_kill(self, process, !sim_chance(self, 20));
    if (!sim_chance(self, 30))
        sim_push(self, (struct sim_event){.kind = SIM_EVENT_START, .number = (uint64_t)node},
            100000 + sim_random(self, 4000000));
}

static void freeze(struct sim *self)
{
    int process = some_worker(self);
    if (process < 0)
        return;
    self->processes[process]->frozen_until_us = self->now_us + sim_random(self, 5000000);
    sim_trace(self, "fault: %s stops for a while", self->processes[process]->name);
}

static void hang(struct sim *self)
{
    int process = some_worker(self);
    if (process < 0)
        return;
    self->processes[process]->hangs_until_us = self->now_us + sim_random(self, 9000000);
    sim_trace(self, "fault: %s hangs in compute", self->processes[process]->name);
}

static void break_one(struct sim *self, enum sim_plane plane)
{
    int conn = some_conn(self, plane);
    if (conn < 0)
        return;
    sim_trace(self, "fault: connection %s -> %s breaks",
        self->processes[self->conns[conn].from]->name, self->processes[self->conns[conn].to]->name);
    sim_conn_break(self, conn, true);
}

static void partition(struct sim *self)
{
    int process = some_worker(self);
    if (process < 0)
        return;
    uint64_t until_us = self->now_us + 200000 + sim_random(self, 4000000);
    sim_trace(self, "fault: %s is cut off for a while", self->processes[process]->name);
    for (int i = 0; i < self->conn_count; i++)
        if (self->conns[i].open && (self->conns[i].from == process || self->conns[i].to == process))
            self->conns[i].held_until_us = until_us;
}

static void restart_coordinator(struct sim *self)
{
    sim_trace(self, "fault: the coordinator restarts");
    sim_kill(self, self->coordinator, true);
    sim_start_coordinator(self);
}

static void client_trouble(struct sim *self)
{
    int client = (int)sim_random(self, SIM_CLIENTS - 1); /* the last one stays */
    if (sim_chance(self, 50)) {
        self->client_slow_until_us[client] = self->now_us + sim_random(self, 4000000);
        sim_trace(self, "fault: client %d does not read", client);
    } else {
        sim_trace(self, "fault: client %d dies", client);
        sim_kill(self, self->clients[client], true);
    }
}

static void join(struct sim *self)
{
    for (uint32_t node = 0; node < self->node_count; node++) {
        if (self->node_process[node] >= 0)
            continue;
        sim_trace(self, "fault: node %u joins", node);
        sim_start_worker(self, (int)node);
        return;
    }
}

void sim_fault(struct sim *self)
{
    if (self->healed)
        return;
    self->fault_count++;
    switch (sim_random(self, 14)) {
    case 0:
    case 1:
    case 2:
        kill_worker(self);
        break;
    case 3:
        freeze(self);
        break;
    case 4:
        hang(self);
        break;
    case 5:
    case 6:
    case 12:
    case 13:
        break_one(self, SIM_DATA);
        break;
    case 7:
        break_one(self, SIM_CONTROL);
        break;
    case 8:
        partition(self);
        break;
    case 9:
        restart_coordinator(self);
        break;
    case 10:
        client_trouble(self);
        break;
    default:
        join(self);
        break;
    }
}

void sim_heal(struct sim *self)
{
    self->healed = true;
    sim_trace(self, "everything is well again");
    for (int i = 0; i < self->process_count; i++)
        self->processes[i]->frozen_until_us = self->processes[i]->hangs_until_us = 0;
    for (int i = 0; i < self->conn_count; i++)
        self->conns[i].held_until_us = 0;
    memset(self->client_slow_until_us, 0, sizeof(self->client_slow_until_us));
    for (uint32_t node = 0; node < self->node_count; node++)
        sim_start_worker(self, (int)node);
}
